// run.json: where a run stands, for other programs.
#ifndef MUSTER_LAUNCHER_RUN_FILE_H_
#define MUSTER_LAUNCHER_RUN_FILE_H_

#include <sys/types.h>

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <vector>

namespace muster::launcher {

struct RunStatus {
  std::string run_id;
  int generation = 0;
  int world_size = 0;
  std::vector<pid_t> rank_pids;  ///< By rank.
  std::int64_t step = 0;         ///< The newest that rank 0 told.
  std::int64_t total_steps = 0;  ///< 0 while unknown.
  int restarts = 0;
  std::string checkpoint_path;  ///< The newest one committed in this run; "" when none was.
  std::int64_t checkpoint_step = 0;
  std::string state = "starting";  ///< starting, running, recovering, stopping, done, failed,
                                   ///< interrupted, preempted.
  std::optional<int> exit_code;    ///< Once the run is over.
};

/// The file's text: one JSON object (docs/failure_model.md lists the fields).
std::string run_status_text(const RunStatus& status);

/// Replaced whole at every write, so that a reader never sees half of it. Not synced: it is
/// worthless after a power cut.
class RunFile {
 public:
  explicit RunFile(std::filesystem::path path) : path_(std::move(path)) {}
  const std::filesystem::path& path() const { return path_; }
  /// False when it could not be written: the file is what it was, and errno says why.
  bool write(const RunStatus& status) const;

 private:
  std::filesystem::path path_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_RUN_FILE_H_
