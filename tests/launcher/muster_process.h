// The real `muster` program under a test's control.
#ifndef MUSTER_TESTS_LAUNCHER_MUSTER_PROCESS_H_
#define MUSTER_TESTS_LAUNCHER_MUSTER_PROCESS_H_

#include <gtest/gtest.h>
#include <sys/types.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "file_descriptor.h"
#include "muster/base/json.h"

namespace muster::launcher::testing {

inline constexpr std::chrono::seconds kDeadline{20};

/// Looks until `condition` holds; false when it does not within kDeadline.
bool eventually(const std::function<bool()>& condition);

/// A directory that goes with its owner.
class TemporaryDirectory {
 public:
  TemporaryDirectory();
  ~TemporaryDirectory();
  const std::filesystem::path& path() const { return path_; }

 private:
  std::filesystem::path path_;
};

std::string read_file(const std::filesystem::path& path);

/// Where the child's output goes instead of a file: descriptors that the caller owns.
struct OutputTo {
  int output = -1;
  int error = -1;
};

/// One `muster ARGUMENTS`. Killed with all that belongs to it when the test ends early.
class MusterProcess {
 public:
  MusterProcess(const TemporaryDirectory& directory, const std::vector<std::string>& arguments,
                OutputTo to = {});
  ~MusterProcess();
  MusterProcess(const MusterProcess&) = delete;
  MusterProcess& operator=(const MusterProcess&) = delete;

  pid_t pid() const { return pid_; }
  void send_signal(int signal);
  /// The exit code, 128 + the signal that killed it, or -1 when it is still there after kDeadline
  /// (it is killed then).
  int wait();

  std::string output() const;  ///< All of standard output so far.
  std::string error() const;

 private:
  std::filesystem::path output_path_;
  std::filesystem::path error_path_;
  pid_t pid_ = -1;
  int exit_code_ = -2;
};

/// A test of commands that end by themselves.
class MusterCommandTest : public ::testing::Test {
 protected:
  /// Runs `muster WORDS` to its end; the exit code.
  int run(const std::vector<std::string>& words);

  TemporaryDirectory directory_;
  std::string output_;  ///< Of the last run.
  std::string error_;
};

/// A test with a directory for logs, which sees to it that nothing of a run is left.
class MusterRunTest : public ::testing::Test {
 protected:
  /// `muster run FLAGS --log-dir ... -- this test program as a rank WORDS`.
  std::vector<std::string> run_words(const std::vector<std::string>& flags,
                                     const std::vector<std::string>& words) const;
  /// The present run.json; null while there is none.
  Json status() const;
  /// Waits until run.json says so.
  bool wait_for_state(const std::string& state) const;
  std::string log(int generation, int rank) const;
  /// How many processes of the run there are now.
  std::size_t survivors() const;

  TemporaryDirectory directory_;
};

}  // namespace muster::launcher::testing

#endif  // MUSTER_TESTS_LAUNCHER_MUSTER_PROCESS_H_
