// Where this rank's pieces of the flat space lie (weights, optimizer state, reduced gradients), and
// the loops over them there.
#ifndef MUSTER_TRAINER_SRC_PIECE_DEVICE_H_
#define MUSTER_TRAINER_SRC_PIECE_DEVICE_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "optimizer_kernels.h"

namespace muster::internal {

/// Pointers are to memory of that device. The loops are those of optimizer_kernels, with the same
/// bits, and on a GPU ordered by the caller's current stream.
class PieceDevice {
 public:
  virtual ~PieceDevice() = default;

  /// Of float32 tensors for pieces.
  virtual at::TensorOptions options() const = 0;

  virtual void adamw_update(float* parameter, const float* gradient, float* exp_avg,
                            float* exp_avg_sq, std::int64_t numel,
                            const AdamWFactors& factors) const = 0;
  virtual void adam_update(float* parameter, const float* gradient, float* exp_avg,
                           float* exp_avg_sq, std::int64_t numel, const AdamWFactors& factors,
                           float weight_decay) const = 0;
  virtual void sgd_update(float* parameter, const float* gradient, float* momentum_buffer,
                          std::int64_t numel, const SgdFactors& factors) const = 0;
  virtual void lion_update(float* parameter, const float* gradient, float* momentum,
                           std::int64_t numel, const LionFactors& factors) const = 0;
  virtual void scale_and_clamp(float* values, std::int64_t numel, float scale,
                               float limit) const = 0;
  virtual void move_average(float* average, const float* values, std::int64_t numel,
                            float weight) const = 0;
  virtual void swap(float* a, float* b, std::int64_t numel) const = 0;
  /// `sums` is memory of the device, too.
  virtual void block_square_sums(const float* values, std::int64_t numel, double* sums) const = 0;
};

/// Ordinary host memory.
const PieceDevice& host_pieces();
/// Host memory that a GPU copies from and to beside other work.
const PieceDevice& pinned_host_pieces();

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PIECE_DEVICE_H_
