// The inner loop of the conversion of images, compiled with the options of kernels.
#ifndef MUSTER_DATA_LOADER_SRC_CONVERT_KERNELS_H_
#define MUSTER_DATA_LOADER_SRC_CONVERT_KERNELS_H_

#include <cstdint>

namespace muster::internal {

/// out[i] = (in[i] - offset) * factor, each operation rounded to float32: the same bits everywhere.
void convert_to_float(const std::uint8_t* in, std::int64_t count, float offset, float factor,
                      float* out);

}  // namespace muster::internal

#endif  // MUSTER_DATA_LOADER_SRC_CONVERT_KERNELS_H_
