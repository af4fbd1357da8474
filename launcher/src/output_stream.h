// Standard output or error of the launcher: an ordered queue that never blocks, however slow its
// reader.
#ifndef MUSTER_LAUNCHER_OUTPUT_STREAM_H_
#define MUSTER_LAUNCHER_OUTPUT_STREAM_H_

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <string_view>
#include <variant>

#include "file_descriptor.h"
#include "log_files.h"

namespace muster::launcher {

/// A rank's output waits in its log file, not in memory, and the ranks never wait for whoever
/// reads: a paused terminal or a pager must not stop a training job. Only our own words are held in
/// memory.
class OutputStream {
 public:
  /// `fd` is borrowed and its flags are left alone: other processes may share its description.
  explicit OutputStream(int fd);

  bool is_terminal() const { return is_terminal_; }
  /// To be polled for POLLOUT while pending() is true.
  int fd() const { return fd_; }
  bool pending() const { return !queue_.empty(); }
  /// The reader has gone: everything is dropped from then on.
  bool is_dead() const { return dead_; }
  /// True when the last byte written or queued ended a line.
  bool at_line_start() const { return at_line_start_; }
  /// Says that what was last queued leaves nothing on its line.
  void set_at_line_start() { at_line_start_ = true; }
  std::int64_t queued_items() const { return static_cast<std::int64_t>(queue_.size()); }
  /// Bytes written since the start: shows whether the reader still reads.
  std::int64_t written_bytes() const { return written_bytes_; }

  void add_text(std::string text);
  /// `bytes` of `log` from `offset_bytes`; `ends_line` says whether the last of them is a newline.
  void add_log(std::shared_ptr<const LogFile> log, std::int64_t offset_bytes, std::int64_t bytes,
               bool ends_line);
  /// Writes what the reader takes now.
  void pump();

 private:
  struct LogRange {
    std::shared_ptr<const LogFile> log;
    std::int64_t offset_bytes;
    std::int64_t bytes;
  };
  using Item = std::variant<std::string, LogRange>;

  std::string next_chunk() const;
  void consume(std::size_t bytes);
  long write_some(std::string_view bytes);

  int fd_;
  FileDescriptor private_description_;
  bool is_terminal_ = false;
  bool is_socket_ = false;
  bool may_block_ = false;
  bool dead_ = false;
  bool at_line_start_ = true;
  std::int64_t written_bytes_ = 0;
  std::deque<Item> queue_;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_OUTPUT_STREAM_H_
