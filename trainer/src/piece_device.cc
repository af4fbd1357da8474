// The host's own loops.
#include "piece_device.h"

#include <algorithm>

namespace muster::internal {
namespace {

class HostPieces : public PieceDevice {
 public:
  explicit HostPieces(bool pinned) : pinned_(pinned) {}

  at::TensorOptions options() const override {
    const at::TensorOptions options(at::kFloat);
    return pinned_ ? options.pinned_memory(true) : options;
  }
  void adamw_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                    std::int64_t numel, const AdamWFactors& factors) const override {
    internal::adamw_update(parameter, gradient, exp_avg, exp_avg_sq, numel, factors);
  }
  void adam_update(float* parameter, const float* gradient, float* exp_avg, float* exp_avg_sq,
                   std::int64_t numel, const AdamWFactors& factors,
                   float weight_decay) const override {
    internal::adam_update(parameter, gradient, exp_avg, exp_avg_sq, numel, factors, weight_decay);
  }
  void sgd_update(float* parameter, const float* gradient, float* momentum_buffer,
                  std::int64_t numel, const SgdFactors& factors) const override {
    internal::sgd_update(parameter, gradient, momentum_buffer, numel, factors);
  }
  void lion_update(float* parameter, const float* gradient, float* momentum, std::int64_t numel,
                   const LionFactors& factors) const override {
    internal::lion_update(parameter, gradient, momentum, numel, factors);
  }
  void scale_and_clamp(float* values, std::int64_t numel, float scale, float limit) const override {
    internal::scale_and_clamp(values, numel, scale, limit);
  }
  void move_average(float* average, const float* values, std::int64_t numel,
                    float weight) const override {
    internal::move_average(average, values, numel, weight);
  }
  void swap(float* a, float* b, std::int64_t numel) const override {
    std::swap_ranges(a, a + numel, b);
  }
  void block_square_sums(const float* values, std::int64_t numel, double* sums) const override {
    internal::block_square_sums(values, numel, sums);
  }

 private:
  bool pinned_;
};

}  // namespace

const PieceDevice& host_pieces() {
  static const HostPieces pieces(/*pinned=*/false);
  return pieces;
}

const PieceDevice& pinned_host_pieces() {
  static const HostPieces pieces(/*pinned=*/true);
  return pieces;
}

}  // namespace muster::internal
