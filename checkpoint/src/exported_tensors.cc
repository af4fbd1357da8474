// Choice, naming and conversion of tensors for export.
#include "exported_tensors.h"

#include <string_view>

#include "muster/base/error.h"
#include "muster/checkpoint/elements.h"

namespace muster::checkpoint {

void ExportOptions::validate() const {
  if (everything && averages) {
    throw ConfigError(
        "export: expected averages in the place of their parameters or every tensor, found both; "
        "choose one");
  }
  if (dtype && !is_float(*dtype)) {
    throw ConfigError("export: expected a floating-point dtype, found " +
                      std::string(dtype_name(*dtype)) + "; choose float32, float16 or bfloat16");
  }
}

namespace internal {

ExportedTensors::ExportedTensors(const Checkpoint& checkpoint, const ExportOptions& options)
    : checkpoint_(checkpoint), options_(options) {
  options.validate();
  const auto& stored = checkpoint.manifest().tensors;
  bool found_average = false;
  const std::string prefix = kModelPrefix;
  for (const auto& [name, entry] : stored) {
    if (options.everything) {
      add(name, name, entry);
      continue;
    }
    if (!name.starts_with(prefix)) continue;
    const std::string plain = name.substr(prefix.size());
    const auto average = options.averages ? stored.find(kAveragePrefix + plain) : stored.end();
    found_average = found_average || average != stored.end();
    if (average != stored.end()) {
      add(plain, average->first, average->second);
    } else {
      add(plain, name, entry);
    }
  }
  const std::string place = checkpoint.directory().string();
  if (tensors_.empty() && !options.everything) {
    throw CheckpointError(place + ": expected tensors of a model (" + prefix +
                          "*), found none among " + std::to_string(stored.size()) +
                          " tensors; export all of them instead");
  }
  if (options.averages && !found_average) {
    throw CheckpointError(place + ": expected averages of parameters (" + kAveragePrefix +
                          "*), found none; was the run started with --ema?");
  }
}

void ExportedTensors::add(const std::string& name, const std::string& stored,
                          const TensorEntry& entry) {
  const DType dtype = options_.dtype && is_float(entry.dtype) ? *options_.dtype : entry.dtype;
  tensors_.push_back({name, dtype, entry.shape, 0, entry.numel()});
  stored_names_[name] = stored;
}

void ExportedTensors::read(const TensorRange& range, void* out) {
  const std::string& stored = stored_names_.at(range.name);
  const TensorEntry& entry = checkpoint_.manifest().tensors.at(stored);
  const TensorRange source{stored, entry.dtype, entry.shape, range.begin, range.end};
  if (entry.dtype == range.dtype) {
    checkpoint_.read(source, out);
    return;
  }
  unconverted_.resize(static_cast<std::size_t>(source.bytes()));
  checkpoint_.read(source, unconverted_.data());
  const std::int64_t overflows =
      convert_floats(entry.dtype, unconverted_.data(), range.dtype, out, range.numel());
  if (overflows > 0) overflows_[range.name] += overflows;
}

Exported ExportedTensors::result() const {
  Exported result{.tensors = static_cast<std::int64_t>(tensors_.size()), .overflows = overflows_};
  for (const TensorRange& tensor : tensors_) result.bytes += tensor.bytes();
  return result;
}

}  // namespace internal
}  // namespace muster::checkpoint
