// metrics.jsonl: one line a step, the same bytes however often the job was killed and wherever it
// ran.
#ifndef MUSTER_TRAINER_SRC_METRICS_LOG_H_
#define MUSTER_TRAINER_SRC_METRICS_LOG_H_

#include <cstdint>
#include <filesystem>
#include <string>

#include "muster/base/json.h"

namespace muster::internal {

/// Rank 0 writes it into the checkpoint directory. Lines go to the file with one write() each, so a
/// kill loses none that was written, and none is written of a step that a resume repeats: open()
/// cuts the file back.
class MetricsLog {
 public:
  /// Keeps the lines whose "step" is at most `step` and appends from there. Throws CheckpointError
  /// when the file cannot be read or written.
  MetricsLog(const std::filesystem::path& path, std::int64_t step);
  ~MetricsLog();
  MetricsLog(const MetricsLog&) = delete;
  MetricsLog& operator=(const MetricsLog&) = delete;

  void append(const Json& line);

 private:
  std::filesystem::path path_;
  int fd_;
};

/// Puts a JSON file in its place whole. Throws CheckpointError when it cannot be written.
void write_file(const std::filesystem::path& path, const Json& json);

/// The lines of `text` up to the first whose "step" is above `step` or that is no whole JSON line.
/// Pure.
std::string lines_up_to_step(const std::string& text, std::int64_t step);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_METRICS_LOG_H_
