// A model's state for tests: tensors of every dtype and awkward shape, sharded and saved as a
// trainer would.
#ifndef MUSTER_TESTS_CHECKPOINT_SAMPLE_STATE_H_
#define MUSTER_TESTS_CHECKPOINT_SAMPLE_STATE_H_

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::checkpoint {

struct SampleTensor {
  TensorRange whole;
  std::vector<std::byte> data;
};

using SampleState = std::vector<SampleTensor>;

/// About 20 KB; the bytes are a function of the seed. With `large` one tensor of several chunks
/// more.
SampleState sample_state(std::uint64_t seed, bool large = false);

/// 14 MiB more: enough to be read by several threads.
SampleState larger_state(std::uint64_t seed);

/// One tensor, for tests that save hundreds of times.
SampleState tiny_state(std::uint64_t seed);

/// What rank `rank` of `world_size` stores: an even part of each tensor.
std::vector<SourceRange> shard_of(const SampleState& state, int rank, int world_size);

/// {"progress": {"step": step, ...}, "circumstances": {...}}
Json sample_run_state(std::int64_t step, int world_size = 1);

std::vector<ShardRecord> write_shards(const CheckpointStore& store, const SampleState& state,
                                      std::int64_t step, int world_size, int generation = 0);

std::filesystem::path save(const CheckpointStore& store, const SampleState& state,
                           std::int64_t step, int world_size = 1, int generation = 0);

/// A safetensors file of whole tensors.
void write_safetensors_of(const std::filesystem::path& path, const SampleState& state, Env& env,
                          const std::map<std::string, std::string>& metadata = {});

/// Empty when every tensor of `state` reads back bit for bit; else the first that does not.
std::string first_difference(const Checkpoint& checkpoint, const SampleState& state);

/// Memory for a part of each tensor of `state`, every byte `fill` until something is loaded.
struct LoadedPart {
  LoadedPart(const SampleState& state, Reader reader, std::byte fill);

  std::vector<std::vector<std::byte>> memory{};  ///< By tensor, as `targets`.
  std::vector<TargetRange> targets{};
};

/// The CheckpointError's message; "no error" when none is thrown.
std::string message_of(const std::function<void()>& action);

/// A directory on the real file system, gone at the end.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_TESTS_CHECKPOINT_SAMPLE_STATE_H_
