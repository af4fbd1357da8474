// The loops of optimizer_kernels as kernels of a GPU, with the same bits.
#ifndef MUSTER_TRAINER_SRC_CUDA_PIECE_KERNELS_H_
#define MUSTER_TRAINER_SRC_CUDA_PIECE_KERNELS_H_

#include "piece_device.h"

namespace muster::internal {

/// Kernels are put on LibTorch's current stream, and calls return at once. Errors of a launch, and
/// of earlier work, are c10::Error.
class CudaPieces : public PieceDevice {
 public:
  /// `device` is the current GPU of the threads that call.
  explicit CudaPieces(at::Device device) : device_(device) {}

  at::TensorOptions options() const override {
    return at::TensorOptions(at::kFloat).device(device_);
  }
  void adamw_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                    std::int64_t numel, const AdamWFactors& factors) const override;
  void adam_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                   std::int64_t numel, const AdamWFactors& factors,
                   float weight_decay) const override;
  void sgd_update(float* parameter, const float* gradient, float* momentum_buffer,
                  std::int64_t numel, const SgdFactors& factors) const override;
  void lion_update(float* parameter, const float* gradient, float* momentum, std::int64_t numel,
                   const LionFactors& factors) const override;
  void scale_and_clamp(float* values, std::int64_t numel, float scale, float limit) const override;
  void move_average(float* average, const float* values, std::int64_t numel,
                    float weight) const override;
  void swap(float* a, float* b, std::int64_t numel) const override;
  void block_square_sums(const float* values, std::int64_t numel, double* sums) const override;

 private:
  at::Device device_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_CUDA_PIECE_KERNELS_H_
