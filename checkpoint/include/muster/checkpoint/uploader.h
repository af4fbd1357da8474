// Uploads checkpoints while training goes on.
#ifndef MUSTER_CHECKPOINT_UPLOADER_H_
#define MUSTER_CHECKPOINT_UPLOADER_H_

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <filesystem>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "muster/checkpoint/object_store.h"
#include "muster/checkpoint/retention.h"

namespace muster::checkpoint {

/// A thread with one upload that runs and one that waits: where the store is slower than the saves,
/// the newest is uploaded next and those between are not, but for the one that the rule keeps as
/// the run's best. After each upload the store's checkpoints are retained by the rule. Calls from
/// one thread; only wait_for() blocks.
class Uploader {
 public:
  /// `store` must outlive the uploader, and is its alone until then.
  explicit Uploader(ObjectStore& store);
  /// Ends what runs.
  ~Uploader();

  /// Uploads the checkpoint of `step` at `path` next, after that of retention.keep_step beside it.
  void start(std::int64_t step, std::filesystem::path path, Retention retention);

  /// The steps whose files are being read, or will be.
  std::vector<std::int64_t> steps_in_use() const;

  struct Failures {
    std::int64_t in_a_row = 0;  ///< Up to the last upload; 0 where that succeeded.
    std::string message{};      ///< Of the newest failure that was not taken before; or empty.
  };
  Failures take_failures();
  /// Whether there is a message to take.
  bool failed() const;
  /// Uploads that succeeded since the beginning.
  std::int64_t uploaded() const;

  /// Blocks until nothing runs or waits, at most `time`; returns whether that is so.
  bool wait_for(std::chrono::milliseconds time);

 private:
  struct Job {
    std::int64_t step = 0;
    std::filesystem::path path{};
    Retention retention{};
  };

  void run();
  std::string upload(const Job& job);

  ObjectStore& store_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  std::optional<Job> waiting_;
  std::optional<Job> running_;
  Failures failures_;
  std::int64_t uploaded_ = 0;
  std::int64_t best_there_ = 0;  // the thread's
  std::thread thread_;           // last: it uses all of the above
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_UPLOADER_H_
