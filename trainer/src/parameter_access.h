// Hears of every LibTorch operation that uses certain tensors, before it runs: in forward passes
// and in backward ones, in any model, without a change to it.
#ifndef MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_
#define MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flat_layout.h"

namespace muster::internal {

/// What one operation uses of watched memory, in elements of its dtype.
struct Access {
  std::string operation;
  std::vector<FlatRange> reads;
  std::vector<FlatRange> writes;
};

class AccessListener {
 public:
  virtual ~AccessListener() = default;
  /// The operation runs when this returns; what it throws leaves the operation's caller.
  virtual void before(const Access& access) = 0;
};

/// Memory whose tensors carry a dispatch key of their own. LibTorch offers every operation on such
/// a tensor, and on views of it, to the key's fallback first. Results that are no views do not
/// carry it.
class WatchedMemory {
 public:
  /// Elements of `dtype` from `memory` on, which is kept as long as a tensor needs it.
  WatchedMemory(std::shared_ptr<void> memory, std::int64_t numel, at::ScalarType dtype,
                AccessListener& listener);
  /// From now on operations on the tensors throw UserError.
  ~WatchedMemory();
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  /// The parameter's data are from now on those from element `begin` on, contiguous, in the shape
  /// it has. Its listener does not hear of it.
  void take_place_of(at::Tensor parameter, std::int64_t begin) const;

 private:
  struct Watch;
  static void end_watch(void* watch);
  at::Tensor tensor(std::int64_t begin, at::IntArrayRef sizes) const;
  friend const Watch* watch_of(const at::Tensor& tensor);

  std::shared_ptr<Watch> watch_;
  at::Tensor whole_;
};

/// Throws InternalError when LibTorch does not work so: on a leaf, and in backward on its views.
void check_parameter_access();

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_
