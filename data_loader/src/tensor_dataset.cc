// Gathers rows by memcpy and converts them while they are in cache.
#include "muster/data_loader/tensor_dataset.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "convert_kernels.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

[[noreturn]] void reject(const std::string& column, const std::string& expected,
                         const std::string& found, const std::string& remedy) {
  throw ConfigError("column \"" + column + "\" of a TensorDataset: expected " + expected +
                    "; found " + found + ". " + remedy);
}

void check_values(const TensorDataset::Column& column) {
  if (!column.values.defined()) {
    reject(column.name, "a tensor", "an undefined one", "Assign it first");
  }
  if (column.values.dim() < 1) {
    reject(column.name, "one row a sample", "a tensor without dimensions", "Add a dimension");
  }
  if (!column.values.device().is_cpu() || column.values.layout() != at::kStrided) {
    reject(column.name, "a dense tensor in CPU memory",
           column.values.device().str() + (column.values.is_sparse() ? ", sparse" : ""),
           "Move it with .cpu() or .to_dense()");
  }
}

}  // namespace

TensorDataset::TensorDataset(std::vector<Column> columns) {
  if (columns.empty()) {
    throw ConfigError(
        "TensorDataset: expected at least one column; found none. Give it the tensors to read");
  }
  for (Column& column : columns) {
    check_values(column);
    for (const StoredColumn& other : columns_) {
      if (column.name == other.name) reject(column.name, "a new name", "it twice", "Rename one");
    }
    if (column.name.empty()) reject("", "a name", "an empty one", "Name it");
    if (columns_.empty()) size_ = column.values.size(0);
    if (column.values.size(0) != size_) {
      reject(column.name,
             std::to_string(size_) + " rows, as column \"" + columns_.front().name + "\" has",
             std::to_string(column.values.size(0)), "Check that both files belong together");
    }
    std::optional<Conversion> conversion;
    if (column.to_float) conversion = plan_conversion(column);
    columns_.push_back({column.name, column.values.detach().contiguous(), std::move(conversion)});
  }
}

TensorDataset::Conversion TensorDataset::plan_conversion(const Column& column) {
  const FloatConversion& asked = *column.to_float;
  if (column.values.scalar_type() != at::kByte) {
    reject(column.name, "uint8 values to convert", c10::toString(column.values.scalar_type()),
           "Leave to_float out");
  }
  const std::size_t channels = asked.mean.size();
  const bool per_channel =
      column.values.dim() >= 2 && channels == static_cast<std::size_t>(column.values.size(1));
  if (asked.stddev.size() != channels || (channels != 1 && !per_channel)) {
    reject(column.name, "as many means as stddevs: one, or one a channel (dimension 1)",
           std::to_string(channels) + " and " + std::to_string(asked.stddev.size()),
           "Give one of each for every channel");
  }
  Conversion plan;
  for (std::size_t channel = 0; channel < channels; ++channel) {
    const double mean = asked.mean[channel];
    const double stddev = asked.stddev[channel];
    if (!std::isfinite(mean) || !std::isfinite(stddev) || stddev <= 0) {
      reject(column.name, "a finite mean and a stddev above 0",
             std::to_string(mean) + " and " + std::to_string(stddev), "Correct them");
    }
    plan.offsets.push_back(static_cast<float>(255.0 * mean));
    plan.factors.push_back(static_cast<float>(1.0 / (255.0 * stddev)));
  }
  const std::int64_t rows = column.values.size(0);
  const std::int64_t row_numel = rows == 0 ? 0 : column.values.numel() / rows;
  plan.values_per_channel = row_numel / static_cast<std::int64_t>(channels);
  return plan;
}

at::Tensor TensorDataset::gather(const StoredColumn& column,
                                 std::span<const std::int64_t> sample_ids) {
  std::vector<std::int64_t> shape = column.values.sizes().vec();
  const std::int64_t row_numel = column.values.numel() / std::max<std::int64_t>(shape[0], 1);
  shape[0] = static_cast<std::int64_t>(sample_ids.size());
  const auto options =
      column.conversion ? column.values.options().dtype(at::kFloat) : column.values.options();
  at::Tensor out = at::empty(shape, options);  // [sample_ids.size(), ...]
  if (out.numel() == 0) return out;
  if (!column.conversion) {
    const std::size_t row_bytes =
        static_cast<std::size_t>(row_numel) * column.values.element_size();
    const std::byte* rows = static_cast<const std::byte*>(column.values.const_data_ptr());
    std::byte* next = static_cast<std::byte*>(out.mutable_data_ptr());
    for (const std::int64_t id : sample_ids) {
      std::memcpy(next, rows + static_cast<std::size_t>(id) * row_bytes, row_bytes);
      next += row_bytes;
    }
    return out;
  }
  const Conversion& conversion = *column.conversion;
  const std::uint8_t* rows = column.values.const_data_ptr<std::uint8_t>();
  float* next = out.mutable_data_ptr<float>();
  for (const std::int64_t id : sample_ids) {
    const std::uint8_t* channel_values = rows + id * row_numel;
    for (std::size_t channel = 0; channel < conversion.offsets.size(); ++channel) {
      internal::convert_to_float(channel_values, conversion.values_per_channel,
                                 conversion.offsets[channel], conversion.factors[channel], next);
      channel_values += conversion.values_per_channel;
      next += conversion.values_per_channel;
    }
  }
  return out;
}

Batch TensorDataset::get(std::span<const std::int64_t> sample_ids) const {
  for (const std::int64_t id : sample_ids) {
    MUSTER_CHECK(id >= 0 && id < size_) << "sample " << id << " of " << size_;
  }
  Batch batch;
  batch.sample_ids.assign(sample_ids.begin(), sample_ids.end());
  for (const StoredColumn& column : columns_) {
    batch.tensors.emplace_back(column.name, gather(column, sample_ids));
  }
  return batch;
}

}  // namespace muster
