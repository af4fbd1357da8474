// Files in memory that can lose power: what was not synced is gone, and any call can be made to
// fail.
#ifndef MUSTER_TESTS_CHECKPOINT_MEMORY_ENV_H_
#define MUSTER_TESTS_CHECKPOINT_MEMORY_ENV_H_

#include <atomic>
#include <cstdint>
#include <limits>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/env.h"

namespace muster::checkpoint {

/// What happens at the chosen call.
enum class Failure {
  kOnce,   ///< That call fails, later ones work: a full disk, an I/O error.
  kDeath,  ///< That call and all later ones fail: the process is gone.
};

class MemoryEnv : public Env {
 public:
  MemoryEnv();

  /// The `call`-th call from now on (0 is the next) fails with `errno_value`. A failing write first
  /// writes half of its bytes.
  void fail_at(std::int64_t call, Failure failure, int errno_value);
  void stop_failing();
  /// Calls since fail_at().
  std::int64_t calls() const { return calls_; }
  /// By all files so far.
  std::int64_t read_bytes() const { return read_bytes_; }
  void count_read(std::size_t bytes) { read_bytes_ += static_cast<std::int64_t>(bytes); }

  /// Forgets what was not synced: file contents and names in directories, each by itself.
  void lose_power();

  /// A file's bytes, to be looked at or damaged. The path must exist.
  std::string& content(const std::filesystem::path& path);

  std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) override;
  std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) override;
  void create_directories(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;
  std::vector<std::string> list_directory(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override;
  std::chrono::system_clock::time_point now() override { return {}; }

  struct Node {
    bool is_directory = false;
    std::string content;
    std::string synced_content;
    std::map<std::string, std::shared_ptr<Node>> entries;
    std::map<std::string, std::shared_ptr<Node>> synced_entries;
  };

  /// Counts a call; throws when it is the one to fail.
  void count_call(const char* operation, const std::filesystem::path& path);

 private:
  std::shared_ptr<Node> find(const std::filesystem::path& path);
  std::shared_ptr<Node> require(const char* operation, const std::filesystem::path& path);
  std::shared_ptr<Node> require_parent(const char* operation, const std::filesystem::path& path);

  std::shared_ptr<Node> root_;
  std::atomic<std::int64_t> calls_{0};
  std::atomic<std::int64_t> read_bytes_{0};
  std::int64_t failing_call_ = std::numeric_limits<std::int64_t>::max();
  Failure failure_ = Failure::kOnce;
  int errno_value_ = 0;
};

}  // namespace muster::checkpoint

#endif  // MUSTER_TESTS_CHECKPOINT_MEMORY_ENV_H_
