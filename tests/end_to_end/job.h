// Training jobs under `muster run`, as the end-to-end tests run them.
#ifndef MUSTER_TESTS_END_TO_END_JOB_H_
#define MUSTER_TESTS_END_TO_END_JOB_H_

#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "subprocess.h"

namespace muster::testing {

/// A program with its options and a directory for its checkpoints; run as often as a test likes.
class Job {
 public:
  /// `program` is a name in bin/, or an absolute path.
  Job(const std::string& program, std::vector<std::string> options);

  using Environment = std::map<std::string, std::string>;

  /// `muster run -n world_size LAUNCHER_OPTIONS -- PROGRAM ... OPTIONS`, not waited for, with
  /// `environment` added to this process's own.
  std::unique_ptr<Program> start(int world_size, std::vector<std::string> launcher_options = {},
                                 std::vector<std::string> options = {},
                                 const Environment& environment = {});
  ProgramResult run(int world_size, std::vector<std::string> launcher_options = {},
                    std::vector<std::string> options = {}, const Environment& environment = {});

  /// The program by itself, a world of one.
  std::unique_ptr<Program> start_alone();

  const std::filesystem::path& directory() const { return scratch_.path(); }
  std::filesystem::path checkpoints() const { return directory() / "checkpoints"; }
  /// Null while there is none.
  Json run_file() const;
  /// The newest step that run.json tells; 0 while there is none.
  std::int64_t step() const;
  /// -1 while there is none: never for kill(), to which that means everybody.
  pid_t rank_pid(int rank) const;
  /// Returns whether there is such a rank and could be sent the signal.
  bool signal_rank(int rank, int number) const;
  /// The `step-NNNNNNNN` directories, oldest first.
  std::vector<std::filesystem::path> checkpoint_paths() const;
  std::vector<std::string> checkpoint_names() const;
  /// Of the newest checkpoint.
  std::string state_hash() const;
  /// metrics.jsonl.
  std::string metrics() const;

 private:
  /// The program, its options, `options` and where its checkpoints go.
  std::vector<std::string> program_words(const std::vector<std::string>& options = {}) const;

  ScratchDirectory scratch_;
  std::string program_;
  std::vector<std::string> options_;
};

/// fashion_mnist (batch norm, dropout) and char_gpt (tied embedding, dropout) at a size for tests:
/// L = 4, `steps` steps.
std::vector<std::string> fashion_mnist_options(int steps);
std::vector<std::string> char_gpt_options(int steps);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_JOB_H_
