// The least that processes can do to sum what they hold: the limit of an all-reduce in shared
// memory.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <vector>

#include "library.h"

namespace muster::bench {

/// Meet; each rank adds its share of all buffers in one pass and writes the sum to all of them;
/// meet. No queue, no check of what the others do, no choice of operation, dtype or order.
class BareLoop {
 public:
  /// Collective over `library`, whose ranks must be on one node. The memory is rank 0's, unnamed;
  /// the others open it through /proc. Throws InternalError naming the system call that failed.
  BareLoop(Library& library, std::int64_t bytes, std::chrono::milliseconds timeout);
  ~BareLoop();
  BareLoop(const BareLoop&) = delete;
  BareLoop& operator=(const BareLoop&) = delete;

  /// This rank's buffer, uint8 [bytes].
  at::Tensor buffer() const;
  /// Collective. Sums the first `numel` floats of all buffers into each of them. Throws Timeout
  /// when a rank does not come.
  void run(std::int64_t numel);

 private:
  void map(Library& library);
  void meet();
  void await(std::uint32_t all);

  int rank_;
  int world_size_;
  std::int64_t bytes_;
  std::chrono::milliseconds timeout_;
  int spins_;
  void* mapping_ = nullptr;
  std::size_t mapping_bytes_ = 0;
  std::atomic<std::uint32_t>* arrivals_ = nullptr;  // of all ranks, added up; a futex word
  std::atomic<std::uint32_t>* sleepers_ = nullptr;
  std::uint32_t meetings_ = 0;
  std::vector<float*> buffers_;
};

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_BARE_LOOP_H_
