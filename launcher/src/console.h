// What people see: our own messages, rank 0's output, and one progress bar beneath.
#ifndef MUSTER_LAUNCHER_CONSOLE_H_
#define MUSTER_LAUNCHER_CONSOLE_H_

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "log_files.h"
#include "output_stream.h"
#include "progress_bar.h"
#include "rank_report.h"

namespace muster::launcher {

enum class Channel { kOutput, kError };

/// Owns the launcher's standard output and error. Nothing blocks. A bar is drawn on standard error
/// when that is a terminal, and only at the start of a line; otherwise progress is a line every few
/// seconds.
class Console {
 public:
  /// `quiet` drops notes and progress, never errors.
  Console(int output_fd, int error_fd, bool quiet);

  /// A line "muster: TEXT" that --quiet drops.
  void note(const std::string& text);
  /// The same, but --quiet does not drop it.
  void error(const std::string& text);
  /// Mirrors what was just appended to `log`.
  void mirror(Channel channel, std::shared_ptr<const LogFile> log, std::int64_t offset_bytes,
              std::string_view bytes);
  /// Mirrors bytes that no log file could take. Those that the reader is too slow for are dropped
  /// and counted.
  void mirror_unlogged(Channel channel, std::string_view bytes);
  void show_progress(const ProgressView& view, TimePoint now);
  /// The present generation is over: its bar goes.
  void end_progress();

  /// The two streams; the same one twice when both are one terminal, so that order is kept.
  OutputStream& stream(Channel channel);
  /// Writes what the readers take, then draws the bar when it may.
  void pump();
  bool pending() const { return output_.pending() || error_.pending(); }
  std::int64_t written_bytes() const { return output_.written_bytes() + error_.written_bytes(); }
  std::int64_t dropped_bytes() const { return dropped_bytes_; }

 private:
  void erase_bar();
  void draw_bar();
  bool bar_may_be_drawn() const;
  void add_line(const std::string& text);

  OutputStream output_;
  OutputStream error_;
  bool one_terminal_;
  bool quiet_;
  std::int64_t dropped_bytes_ = 0;
  std::optional<ProgressView> view_;
  bool bar_is_drawn_ = false;
  bool bar_is_stale_ = false;
  TimePoint last_draw_{};
  std::optional<TimePoint> last_line_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_CONSOLE_H_
