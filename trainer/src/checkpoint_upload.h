// The object store beside a run's directory: rank 0 speaks with it, and all ranks learn what came
// of that.
#ifndef MUSTER_TRAINER_SRC_CHECKPOINT_UPLOAD_H_
#define MUSTER_TRAINER_SRC_CHECKPOINT_UPLOAD_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/base/rank_env.h"
#include "muster/checkpoint/object_store.h"
#include "muster/checkpoint/restore_source.h"
#include "muster/checkpoint/retention.h"
#include "muster/checkpoint/uploader.h"
#include "muster/collectives/communicator.h"

namespace muster::internal {

class CheckpointUpload {
 public:
  /// Sees the run state of a checkpoint from `origin` on every rank, and throws to refuse it.
  using Check = std::function<void(const Json& run_state, const std::string& origin)>;

  /// `failures_allowed` in a row.
  CheckpointUpload(std::string url, const RankEnv& rank_env, Communicator& communicator,
                   std::int64_t failures_allowed);

  /// Collective. For --fresh. Throws ConfigError where there are checkpoints already, since a
  /// resume would take them for this run's.
  void require_empty();

  /// Collective. Downloads into `directory` the newest checkpoint of the store that is newer than
  /// `step` (as rank 0 gives it; 0: there is none here) and whole, and before it the one that it
  /// needs; false where there is none. No step is tried twice. A store that cannot be reached is an
  /// error at the job's start, and told where ranks were restarted and have something near to go on
  /// from.
  bool fetch_newer(std::int64_t step, const std::filesystem::path& directory, const Check& check,
                   const checkpoint::NeededStep& needed_step);

  /// Rank 0: uploads in the background what was committed; where the store is slower than the
  /// saves, the newest next.
  void start(std::int64_t step, const std::filesystem::path& path,
             const checkpoint::Retention& retention);
  /// Rank 0: the same for what was restored, unless the store has it.
  void catch_up(std::int64_t step, const std::filesystem::path& path,
                const checkpoint::Retention& retention);
  /// Rank 0: steps that must not be deleted yet.
  std::vector<std::int64_t> steps_in_use() const;
  /// Rank 0: whether an upload failed that settle() has not told.
  bool failed() const;

  /// Collective. Says on all ranks what failed: as a warning, or as a CheckpointError once more
  /// failed in a row than allowed.
  void settle();
  /// Collective. Blocks until all is uploaded, however long that takes. What fails last is not
  /// forgiven.
  void finish();

 private:
  Json newer_than(std::int64_t step);
  void download(const Json& found, std::optional<std::int64_t> needed_step,
                const std::filesystem::path& directory);

  RankEnv rank_env_;
  Communicator& communicator_;
  std::int64_t failures_allowed_;
  std::int64_t before_ = std::numeric_limits<std::int64_t>::max();  // steps that may be fetched
  std::int64_t newest_there_ = 0;                                   // rank 0, at the start
  // Rank 0 only.
  std::optional<checkpoint::ObjectStore> store_;
  std::optional<checkpoint::Uploader> uploader_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_CHECKPOINT_UPLOAD_H_
