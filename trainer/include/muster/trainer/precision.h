// In which precision a model computes.
#ifndef MUSTER_TRAINER_PRECISION_H_
#define MUSTER_TRAINER_PRECISION_H_

#include <c10/core/Device.h>
#include <c10/core/ScalarType.h>

#include <cstdint>

namespace muster {

/// The optimizer's weights, the sums of gradients and the optimizer's state are float32 in all of
/// them.
enum class Precision {
  kFloat32,
  /// Matrix products and convolutions in bfloat16, by LibTorch's autocast.
  kBFloat16Mixed,
  /// The same in float16, with dynamic loss scaling.
  kFloat16Mixed,
  /// The module's parameters, their gradients and its floating-point buffers are bfloat16: half the
  /// memory. The optimizer updates float32 masters, sharded as its state is, of which the
  /// parameters are the rounded copies. Autocast as in kBFloat16Mixed, so that inputs may be
  /// float32 and losses are.
  kBFloat16,
};

/// Autocasts, on this thread, for as long as it lives: to be held around the forward pass, not
/// around the backward pass. Does nothing for kFloat32. Scopes nest.
class Autocast {
 public:
  /// `device`: where the forward pass runs; Engine::device().
  explicit Autocast(Precision precision, c10::Device device = c10::kCPU);
  ~Autocast();
  Autocast(const Autocast&) = delete;
  Autocast& operator=(const Autocast&) = delete;

 private:
  bool active_;
  c10::DeviceType device_;
  bool was_enabled_ = false;
  c10::ScalarType previous_dtype_ = c10::ScalarType::Float;
};

/// Dynamic loss scaling: float16 gradients below 6e-8 vanish, so the loss is multiplied by a scale
/// that is lowered when a gradient overflows and raised while none does (Micikevicius et al. 2018;
/// PyTorch's GradScaler). Every rank computes the same from the same gradient norm.
struct LossScale {
  /// What overflows at this scale is no matter of scaling: training ends there, as in float32.
  static constexpr double kLeast = 1;

  double scale = 65536;
  std::int64_t good_steps = 0;     ///< Since the last change.
  std::int64_t skipped_steps = 0;  ///< In all: their updates were not made.

  /// After a step whose gradient did, or did not, overflow. Twice the scale after
  /// `growth_interval` good steps in a row, half of it after a bad one.
  void update(bool overflowed, std::int64_t growth_interval);
};

}  // namespace muster

#endif  // MUSTER_TRAINER_PRECISION_H_
