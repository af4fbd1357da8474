// Starts programs as a user's shell would, with a deadline, and looks for what they leave behind.
#ifndef MUSTER_TESTS_END_TO_END_SUBPROCESS_H_
#define MUSTER_TESTS_END_TO_END_SUBPROCESS_H_

#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace muster::testing {

/// How programs end (docs/failure_model.md).
inline constexpr int kConfigError = 64;
inline constexpr int kCheckpointError = 74;

struct ProgramResult {
  int exit_code = -1;  ///< 128 + signal when a signal ended it.
  std::string out;
  std::string err;
};

/// A running program; killed, with its process group, when it goes out of scope.
class Program {
 public:
  /// Output goes to files under `directory`. `environment` is added to this process's own.
  Program(const std::vector<std::string>& words, const std::filesystem::path& directory,
          const std::map<std::string, std::string>& environment = {});
  ~Program();
  Program(const Program&) = delete;
  Program& operator=(const Program&) = delete;

  pid_t pid() const { return pid_; }
  bool running();
  void signal(int number) const;
  std::string error() const;  ///< All of standard error so far.
  /// Kills the program and fails the test when `timeout` passes.
  ProgramResult wait(std::chrono::seconds timeout = std::chrono::seconds(300));

 private:
  std::filesystem::path directory_;
  pid_t pid_ = -1;
  int status_ = 0;
  bool ended_ = false;
};

/// Polls until `condition` holds; false when `timeout` passes first.
template <typename Condition>
bool wait_until(Condition condition, std::chrono::milliseconds timeout);

/// A file's bytes; none where it cannot be read.
std::string text_of(const std::filesystem::path& path);

/// Words that start what follows as so many ranks by mpirun, with `options` of its own.
std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& options = {});

/// Where files live in memory (/dev/shm), where there is such a place; else the directory for
/// temporary files.
std::filesystem::path memory_directory();

/// A directory of its own for a test; removed at the end.
class ScratchDirectory {
 public:
  explicit ScratchDirectory(
      const std::filesystem::path& parent = std::filesystem::temp_directory_path());
  ~ScratchDirectory();
  ScratchDirectory(const ScratchDirectory&) = delete;
  ScratchDirectory& operator=(const ScratchDirectory&) = delete;
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

/// Processes whose command line has `text`, this one aside.
std::vector<pid_t> processes_with(const std::string& text);

}  // namespace muster::testing

#include <thread>

namespace muster::testing {

template <typename Condition>
bool wait_until(Condition condition, std::chrono::milliseconds timeout) {
  const auto deadline = std::chrono::steady_clock::now() + timeout;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > deadline) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
  return true;
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_SUBPROCESS_H_
