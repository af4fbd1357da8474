// A loop that the compiler turns into vector instructions.
#include "convert_kernels.h"

namespace muster::internal {

void convert_to_float(const std::uint8_t* in, std::int64_t count, float offset, float factor,
                      float* out) {
  for (std::int64_t i = 0; i < count; ++i) out[i] = (static_cast<float>(in[i]) - offset) * factor;
}

}  // namespace muster::internal
