// One life of checkpoint_run: started, watched, ended by a signal or by itself.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_LIFE_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_LIFE_H_

#include <sys/types.h>

#include <chrono>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace muster::testing {

class Life {
 public:
  /// Starts the program in a process group of its own. `arguments` are NAME=VALUE.
  explicit Life(const std::vector<std::string>& arguments);
  /// Kills what is left of it.
  ~Life();
  Life(const Life&) = delete;
  Life& operator=(const Life&) = delete;

  /// Takes what the program says for this long, or until it has ended. Returns whether it has.
  bool watch(std::chrono::microseconds time);
  /// The process of `rank`; 0 as long as it has not told.
  pid_t pid_of(int rank) const;
  /// The whole group.
  void kill_all() const;
  /// Watches until every process has ended; a test failure, and a kill, after `timeout`. Returns
  /// the exit code, 128 + signal for a signal.
  int finish(std::chrono::seconds timeout = std::chrono::seconds(30));

  std::int64_t restored() const { return restored_; }  ///< -1: it did not get so far.
  const std::vector<std::int64_t>& saved() const { return saved_; }
  /// The last step acknowledged; 0 for none.
  std::int64_t last_saved() const { return saved_.empty() ? 0 : saved_.back(); }
  const std::vector<std::string>& failures() const { return failures_; }
  const std::vector<std::string>& errors() const { return errors_; }
  /// From list=1: by rank, then by name.
  const std::map<int, std::map<std::string, int>>& points() const { return points_; }
  const std::map<int, std::int64_t>& calls() const { return calls_; }

 private:
  void take(const std::string& line);

  pid_t pid_ = -1;
  int output_ = -1;
  bool ended_ = false;
  std::string partial_line_;
  std::map<int, pid_t> ranks_;
  std::int64_t restored_ = -1;
  std::vector<std::int64_t> saved_;
  std::vector<std::string> failures_;
  std::vector<std::string> errors_;
  std::map<int, std::map<std::string, int>> points_;
  std::map<int, std::int64_t> calls_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_LIFE_H_
