// Units that come and go.
#include "gathered_parameters.h"

#include <ATen/ops/from_blob.h>
#include <sys/mman.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <exception>
#include <numeric>
#include <system_error>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

class GatheredParameters::AddressSpace {
 public:
  explicit AddressSpace(std::int64_t numel) : bytes_(bytes_of(std::max<std::int64_t>(1, numel))) {
    void* const place =
        mmap(nullptr, bytes_, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (place == MAP_FAILED) {
      throw ConfigError("parameters: expected " + std::to_string(bytes_) +
                        " bytes of addresses, found none: " + std::strerror(errno) +
                        "; raise the limit on the process's address space (ulimit -v)");
    }
    data_ = static_cast<float*>(place);
  }
  ~AddressSpace() { munmap(data_, bytes_); }
  AddressSpace(const AddressSpace&) = delete;
  AddressSpace& operator=(const AddressSpace&) = delete;

  float* data() const { return data_; }

  /// Memory from here on; what it holds is for the caller to say.
  void open(FlatRange range) const {
    if (mprotect(data_ + range.begin, bytes_of(range.numel()), PROT_READ | PROT_WRITE) == 0) return;
    throw std::system_error(errno, std::generic_category(), "parameters: memory for a unit");
  }

  /// What reads it now, past LibTorch's operations, ends by SIGSEGV instead of reading zeros.
  void close(FlatRange range) const noexcept {
    madvise(data_ + range.begin, bytes_of(range.numel()), MADV_DONTNEED);
    mprotect(data_ + range.begin, bytes_of(range.numel()), PROT_NONE);
  }

 private:
  static std::size_t bytes_of(std::int64_t numel) {
    return static_cast<std::size_t>(numel) * sizeof(float);
  }

  std::size_t bytes_;
  float* data_;
};

GatheredParameters::GatheredParameters(const std::vector<NamedTensor>& parameters,
                                       const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& communicator, std::size_t prefetch)
    : WindowedParameters(layout, shard, communicator),
      parameters_(parameters),
      space_(std::make_shared<AddressSpace>(layout.numel)),
      whole_(at::from_blob(space_->data(), {layout.numel}, at::TensorOptions(at::kFloat))),
      residency_(prefetch),
      watched_({space_, space_->data()}, layout.numel, *this) {
  check_parameter_access();
  take_values(parameters);
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    at::Tensor parameter = parameters[i].tensor;
    parameter.set_data(watched_.tensor(layout.parameters[i].begin, parameter.sizes()));
  }
  communicator.barrier().wait();
}

GatheredParameters::~GatheredParameters() {
  try {
    drop_all();
  } catch (const std::exception&) {
    // A rank that is lost has been told of where it was needed.
  }
}

HeldRange GatheredParameters::held(std::size_t parameter) {
  drop_all();  // the caller may write
  return WindowedParameters::held(parameter);
}

void GatheredParameters::begin_pass() { residency_.begin_pass(); }

void GatheredParameters::begin_update() {
  drop_all();
  updating_ = true;
  communicator_.barrier().wait();
}

void GatheredParameters::finish_update() {
  communicator_.barrier().wait();
  updating_ = false;
  if (holds_ > 0) hold_all_units();
}

std::vector<std::size_t> GatheredParameters::units_of(const Access& access) const {
  std::vector<std::size_t> units;
  for (const FlatRange& range : access.reads) {
    // Units tile the space.
    const auto after = std::upper_bound(
        layout_.units.begin(), layout_.units.end(), range.begin,
        [](std::int64_t begin, const Unit& unit) { return begin < unit.range.begin; });
    for (auto unit = after - 1; unit != layout_.units.end() && unit->range.begin < range.end;
         ++unit) {
      const auto index = static_cast<std::size_t>(unit - layout_.units.begin());
      if (std::find(units.begin(), units.end(), index) == units.end()) units.push_back(index);
    }
  }
  return units;
}

void GatheredParameters::before(const Access& access) {
  if (!access.writes.empty()) refuse_write(access);
  if (updating_) {
    throw UserError(access.operation +
                    ": expected parameters to be left alone while they are updated, found one "
                    "read; do it before finish_step(), or after");
  }
  if (holds_ > 0) return;
  const std::vector<std::size_t> units = units_of(access);
  change(residency_.need(units));
  for (const std::size_t unit : units) wait_for(unit);
}

void GatheredParameters::refuse_write(const Access& access) const {
  const std::int64_t begin = access.writes.front().begin;
  for (std::size_t i = 0; i < parameters_.size(); ++i) {
    if (begin < layout_.parameters[i].begin || begin >= layout_.parameters[i].end) continue;
    throw UserError(access.operation + ": expected parameter '" + parameters_[i].name +
                    "' to be changed by the optimizer alone, since at ZeRO stage 3 its values are "
                    "sharded over ranks, found a write in place; do it before the Engine is made, "
                    "or use stage 2");
  }
  throw InternalError(access.operation + ": a write to parameters that are none");
}

void GatheredParameters::change(const ResidencyChange& change) {
  for (const std::size_t unit : change.drop) drop(unit);
  for (const std::size_t unit : change.fetch) fetch(unit);
}

// The own piece comes from the shard, like the others' from theirs.
void GatheredParameters::fetch(std::size_t unit) {
  const Unit& place = layout_.units[unit];
  space_->open(place.range);
  std::vector<Work>& reads = reads_[unit];
  const int ranks = communicator_.world_size();
  for (std::size_t b = place.first_bucket; b < place.end_bucket; ++b) {
    for (int i = 0; i < ranks; ++i) {
      const int r = (communicator_.rank() + i) % ranks;  // not all the same one at a time
      reads.push_back(read_piece(r, b, whole_));
    }
  }
}

void GatheredParameters::wait_for(std::size_t unit) {
  const auto reads = reads_.find(unit);
  if (reads == reads_.end()) return;
  for (Work& read : reads->second) read.wait();
  reads_.erase(reads);
}

void GatheredParameters::drop(std::size_t unit) {
  wait_for(unit);
  space_->close(layout_.units[unit].range);
}

void GatheredParameters::drop_all() {
  for (const std::size_t unit : residency_.clear()) drop(unit);
}

void GatheredParameters::hold_all_units() {
  std::vector<std::size_t> all(layout_.units.size());
  std::iota(all.begin(), all.end(), std::size_t{0});
  change(residency_.need(all));
  for (const std::size_t unit : all) wait_for(unit);
}

void GatheredParameters::hold_all() {
  if (holds_++ == 0) hold_all_units();
}

void GatheredParameters::release_all() {
  if (--holds_ == 0) drop_all();
}

}  // namespace muster::internal
