// A run's checkpoints in an object store, by way of the program `muster-store`: no rank loads
// Arrow.
#ifndef MUSTER_CHECKPOINT_OBJECT_STORE_H_
#define MUSTER_CHECKPOINT_OBJECT_STORE_H_

#include <cstdint>
#include <filesystem>
#include <limits>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/retention.h"

namespace muster::checkpoint {

namespace internal {
class ChildProgram;
}

/// All calls block, however long the store takes, and throw CheckpointError with the store's words;
/// ConfigError where there is no muster-store: it is looked for in $MUSTER_PROGRAM_DIR (which
/// `muster run` sets), beside this program and on PATH. One call at a time, from any thread. What
/// was begun ends with the thread that called, also when that is killed.
class ObjectStore {
 public:
  /// `url` as "s3://bucket/prefix". Touches nothing.
  explicit ObjectStore(std::string url);
  ~ObjectStore();

  const std::string& url() const { return url_; }

  struct Found {
    std::int64_t step = 0;
    std::string path{};  ///< "s3://bucket/prefix/step-00000012"
    Json run_state{};
  };
  /// The newest checkpoint before step `before` whose manifest is sound and whose files are all
  /// there.
  std::optional<Found> newest(std::int64_t before = std::numeric_limits<std::int64_t>::max());

  /// Downloads into `directory`, where the checkpoint gets its name once every byte was found
  /// right.
  void fetch(const Found& found, const std::filesystem::path& directory);

  /// Uploads a checkpoint, the manifest last. What is there already is left alone.
  void upload(const std::filesystem::path& checkpoint);

  /// Deletes what the rule gives up, once every byte of the newest there was found right.
  void retain(const Retention& retention);

  /// Any thread: ends the call that runs, and all later ones.
  void stop();

 private:
  std::string call(std::vector<std::string> words);
  std::shared_ptr<internal::ChildProgram> start(const std::vector<std::string>& words);

  const std::string url_;
  std::mutex mutex_;
  bool stopped_ = false;
  std::shared_ptr<internal::ChildProgram> running_;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_OBJECT_STORE_H_
