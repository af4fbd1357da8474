// The loops of the bare loop, which stand for what the memory allows.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_KERNELS_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_KERNELS_H_

#include <cstdint>
#include <span>

namespace muster::bench {

/// Elements [begin, end) of every buffer become the sum of all buffers there.
void add_all_into_all(std::span<float* const> buffers, std::int64_t begin, std::int64_t end);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_KERNELS_H_
