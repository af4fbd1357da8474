// Autocast scopes and loss scaling.
#include "muster/trainer/precision.h"

#include <ATen/autocast_mode.h>

#include <algorithm>
#include <cmath>

namespace muster {

Autocast::Autocast(Precision precision, c10::Device device)
    : active_(precision != Precision::kFloat32), device_(device.type()) {
  if (!active_) return;
  was_enabled_ = at::autocast::is_autocast_enabled(device_);
  previous_dtype_ = at::autocast::get_autocast_dtype(device_);
  at::autocast::increment_nesting();
  at::autocast::set_autocast_enabled(device_, true);
  at::autocast::set_autocast_dtype(
      device_, precision == Precision::kFloat16Mixed ? at::kHalf : at::kBFloat16);
}

// The copies of parameters that autocast keeps end with the outermost scope: the next step changes
// the parameters.
Autocast::~Autocast() {
  if (!active_) return;
  at::autocast::set_autocast_enabled(device_, was_enabled_);
  at::autocast::set_autocast_dtype(device_, previous_dtype_);
  if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
}

void LossScale::update(bool overflowed, std::int64_t growth_interval) {
  const double kMost = std::ldexp(1.0, 40);
  if (overflowed) {
    scale = std::max(kLeast, scale / 2);
    good_steps = 0;
    ++skipped_steps;
  } else if (++good_steps == growth_interval) {
    scale = std::min(kMost, scale * 2);
    good_steps = 0;
  }
}

}  // namespace muster
