// Hears of every LibTorch operation that uses certain tensors, before it runs, and gives them their
// values then: in forward passes and in backward ones, in any model, without a change to it.
#ifndef MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_
#define MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "flat_layout.h"

namespace muster::internal {

/// Elements of the watched memory with that number, of its dtype.
struct WatchedRange {
  std::size_t memory;
  FlatRange elements;
};

/// What one operation uses of watched memory.
struct Access {
  std::string operation;
  std::vector<WatchedRange> reads;
  std::vector<WatchedRange> writes;
};

class AccessListener {
 public:
  virtual ~AccessListener() = default;
  /// The operation runs when this returns; what it throws leaves the operation's caller.
  virtual void before(const Access& access) = 0;
};

/// Tensors that carry a dispatch key of their own, and whose memory comes and goes. LibTorch offers
/// every operation on such a tensor, and on views of it, to the key's fallback first. Results that
/// are no views do not carry it.
class WatchedMemory {
 public:
  /// `numel` elements of the dtype and on the device of `options`, which `listener` hears of by
  /// `number`. They have no memory yet.
  WatchedMemory(std::size_t number, std::int64_t numel, const at::TensorOptions& options,
                AccessListener& listener);
  /// From now on operations on the tensors throw UserError.
  ~WatchedMemory();
  WatchedMemory(const WatchedMemory&) = delete;
  WatchedMemory& operator=(const WatchedMemory&) = delete;

  /// The parameter's data are from now on those from element `begin` on, contiguous, in the shape
  /// it has. Its listener does not hear of it.
  void take_place_of(at::Tensor parameter, std::int64_t begin) const;
  /// The elements are from now on those of `values`, [numel], which is kept as long as they are;
  /// where that is undefined they have no memory, and asking for their address is LibTorch's
  /// error.
  void set_values(const at::Tensor& values);

 private:
  struct Watch;
  struct Values;
  static void end_values(void* values);
  c10::DataPtr pointer_to(const at::Tensor& values) const;
  friend const Watch* watch_of(const at::Tensor& tensor);

  std::shared_ptr<Watch> watch_;
  at::TensorOptions options_;
  c10::Storage storage_;  // of all the tensors
};

/// Throws InternalError when LibTorch does not work so: on a leaf, and in backward on its views.
void check_parameter_access();

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_ACCESS_H_
