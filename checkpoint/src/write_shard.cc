// Apart from the rest of the store, so that a program which writes no shards needs no HDF5.
#include "file_errors.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/layout.h"
#include "shard_file.h"

namespace muster::checkpoint {

using internal::with_file_errors;
namespace fs = std::filesystem;

ShardRecord CheckpointStore::write_shard(std::int64_t step, int generation, int rank,
                                         int world_size, std::span<const SourceRange> sources,
                                         const WaitForBytes& wait_for_bytes) const {
  const fs::path attempt = directory_ / attempt_directory_name(step, generation);
  const fs::path path = attempt / shard_file_name(rank, world_size);
  return with_file_errors("saving " + step_directory_name(step), [&] {
    env_->create_directories(attempt);
    return internal::write_shard_file(path, {step, generation, rank, world_size}, sources,
                                      wait_for_bytes, *env_);
  });
}

}  // namespace muster::checkpoint
