// A made-up training state: every byte is a function of seed, step and place, so that any process
// can tell what the checkpoint of any step must hold.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_MADE_UP_STATE_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_MADE_UP_STATE_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::testing {

/// A small transformer's parameters, two Adam moments for each, and a counter: what a trainer at
/// ZeRO stage 3 stores, cut as it cuts (a flat space, on blocks of 1,024 elements).
class MadeUpState {
 public:
  /// Of about `kilobytes` of 1,000 bytes; at least 20.
  MadeUpState(std::uint64_t seed, std::int64_t kilobytes);

  /// All of it, in the order of the flat space.
  const std::vector<checkpoint::TensorRange>& tensors() const { return tensors_; }
  std::int64_t bytes() const;
  /// What `rank` of `world_size` stores: together every element once.
  std::vector<checkpoint::TensorRange> shard(int rank, int world_size) const;

  /// The bytes of `range` at `step`.
  void fill(const checkpoint::TensorRange& range, std::int64_t step, std::byte* out) const;
  /// For the manifest.
  Json run_state(std::int64_t step, int world_size) const;
  /// The state hash at `step`, by the definition in docs/checkpoint_format.md and by no code of the
  /// product's.
  std::string hash(std::int64_t step) const;

 private:
  std::uint64_t seed_;
  std::vector<checkpoint::TensorRange> tensors_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_MADE_UP_STATE_H_
