// A few buffers in which gradients of one bucket after the other are collected and reduced.
#ifndef MUSTER_TRAINER_SRC_BUCKET_RING_H_
#define MUSTER_TRAINER_SRC_BUCKET_RING_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "flat_layout.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

class BucketRing {
 public:
  static constexpr std::size_t kBuffers = 3;

  /// Elements that a ring for that layout holds.
  static std::int64_t numel(const FlatLayout& layout);

  /// Collective.
  BucketRing(const FlatLayout& layout, Communicator& communicator);

  /// The memory of a bucket, from its first use on until its work has ended. Its padding is zero,
  /// the rest is not initialised. Waits for the oldest reduction when all buffers are in use; when
  /// none is being reduced yet (gradients came in an unusual order) it is ordinary memory.
  at::Tensor bucket(std::size_t bucket);
  /// `work` reduces the bucket; its end frees the memory.
  void reducing(std::size_t bucket, const Work& work);
  /// Blocks until nothing is being reduced; forgets what was collected.
  void reset();

 private:
  struct Lease {
    std::size_t bucket;
    at::Tensor memory;
    at::Tensor buffer;  // the whole one of the ring; undefined when the memory is not of the ring
    std::optional<Work> work;
  };

  at::Tensor take_buffer();
  void clear_padding(std::size_t bucket, at::Tensor& memory) const;
  template <typename Condition>
  void give_back_if(const Condition& condition);

  const FlatLayout& layout_;
  at::TensorOptions options_;  // of the ring's memory
  std::vector<at::Tensor> free_;
  std::vector<Lease> leases_;  // oldest first
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_BUCKET_RING_H_
