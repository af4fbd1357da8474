// From the newest checkpoint to the oldest, until the bytes of one are right.
#ifndef MUSTER_CHECKPOINT_RESTORE_SEARCH_H_
#define MUSTER_CHECKPOINT_RESTORE_SEARCH_H_

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::checkpoint {

/// The bytes are for who searches to read, by Checkpoint::load() or verify():
///
///     while (auto checkpoint = search.next()) {
///       const std::string damage = summary(checkpoint->load(targets, reader));
///       if (damage.empty()) return checkpoint;
///       search.reject(damage);
///     }
///
/// One search at a time in a directory (on rank 0). Calls block and throw CheckpointError naming
/// the path and the cause.
class RestoreSearch {
 public:
  /// Lists the store's checkpoints. `env` must outlive the search.
  RestoreSearch(const CheckpointStore& store, Env& env);

  /// The newest checkpoint that this search has not given out and whose manifest is sound; nothing
  /// when none is left. One with a damaged manifest is rejected on the way. Throws where nothing
  /// can be told about a newer one (no permission, a newer format): older state is never taken
  /// silently. Throws, too, at the end where one was rejected and could not be set aside: a dying
  /// disk is no empty one.
  std::optional<Checkpoint> next();

  /// The checkpoint given out last is damaged: it is named in a warning and set aside, that is
  /// renamed to `step-NNNNNNNN.damaged` (`.damaged-2`, ... when taken).
  void reject(const std::string& damage);

 private:
  std::filesystem::path directory_;
  Env* env_;
  std::vector<Info> left_;  // the newest last
  std::filesystem::path path_;
  std::string unanswered_;  // why one is damaged that stays where it is
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_RESTORE_SEARCH_H_
