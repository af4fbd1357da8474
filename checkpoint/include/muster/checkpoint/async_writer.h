// Saves in the background: the training step waits only for a copy of its shard.
#ifndef MUSTER_CHECKPOINT_ASYNC_WRITER_H_
#define MUSTER_CHECKPOINT_ASYNC_WRITER_H_

#include <chrono>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/retention.h"
#include "muster/checkpoint/shard_record.h"
#include "muster/checkpoint/tensor_range.h"

namespace muster::checkpoint {

struct ShardWritten {
  std::int64_t step = 0;
  ShardRecord record{};
  std::chrono::nanoseconds copy_time{};   ///< How long start_shard() held the caller.
  std::chrono::nanoseconds write_time{};  ///< In the background.
};

struct Committed {
  std::int64_t step = 0;
  std::filesystem::path path{};
  std::vector<std::filesystem::path> retired{};  ///< What retention deleted.
  std::chrono::nanoseconds
      commit_time{};  ///< In the background, retention's verification included.
};

/// One background thread and one staging block (the live tensors and the block are the double
/// buffer): at most one save is in flight. The block grows to the largest shard and is kept, so
/// staging memory is one shard a rank, and at most a page more for each tensor. The disk sees the
/// block itself: besides, a write needs 2 MiB and the file's structure.
///
/// A save, as the trainer drives it (C: a collective of its own):
///
///     every rank, at the end of step s      writer.start_shard(s, generation, rank, world_size,
///     sources) every rank, at later step ends        written = writer.poll_shard();  C: has every
///     rank one? every rank, once all have             C: gather written->record.to_json() at rank
///     0 rank 0                                writer.start_commit(s, generation, records,
///     run_state, retention) rank 0, at later step ends            committed = writer.poll_commit()
///     -> progress to the launcher
///
/// A rank whose poll_shard() throws tells the others in the same collective, and no one commits.
/// A rank may start the next save once its record is gathered, rank 0 once it has seen its
/// Committed (or its error): start_shard() throws InternalError until then. At the end of training
/// the wait_ forms do the same without polling.
///
/// One caller thread. An error of the background job is kept and thrown by the next poll, wait or
/// start call, once; after that the writer is idle and may be used again. The result must be
/// fetched before the next start call.
class AsyncWriter {
 public:
  /// `store` is copied (its Env is not, and must outlive the writer). A shard of more than
  /// `most_staging_bytes` is not staged: it is written from where it lies while the caller waits.
  explicit AsyncWriter(const CheckpointStore& store,
                       std::int64_t most_staging_bytes = std::numeric_limits<std::int64_t>::max());
  /// Waits for the job in flight; its error, having no one left to tell, is logged.
  ~AsyncWriter();
  AsyncWriter(const AsyncWriter&) = delete;
  AsyncWriter& operator=(const AsyncWriter&) = delete;

  /// True when nothing is running and no result or error waits to be fetched.
  bool idle() const;

  /// Copies the sources and returns; write_shard() follows in the background. Blocks for the copy
  /// alone (for the write, where the shard is too large to be staged). The sources' memory may be
  /// changed as soon as this returns. Throws CheckpointError where there is no memory to stage.
  void start_shard(std::int64_t step, int generation, int rank, int world_size,
                   std::span<const SourceRange> sources);
  /// The finished write, or nothing while it runs. Never blocks. Throws InternalError when none was
  /// started.
  std::optional<ShardWritten> poll_shard();
  /// The same, but blocks until the write has ended.
  ShardWritten wait_shard();

  /// Rank 0. commit() and then retain() in the background. Does not block. A checkpoint that
  /// retention reads back damaged is a CheckpointError, as one that could not be written.
  void start_commit(std::int64_t step, int generation, std::vector<ShardRecord> records,
                    Json run_state, Retention retention);
  std::optional<Committed> poll_commit();
  Committed wait_commit();

  /// Memory held for staging.
  std::int64_t staging_bytes() const;

 private:
  class Worker;
  std::int64_t most_staging_bytes_;
  std::chrono::nanoseconds copy_time_{};  // of the shard started last
  std::unique_ptr<Worker> worker_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_ASYNC_WRITER_H_
