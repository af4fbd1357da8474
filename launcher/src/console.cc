// Keeping output, messages and the bar apart.
#include "console.h"

#include <sys/ioctl.h>

#include <utility>

namespace muster::launcher {
namespace {

constexpr auto kDrawInterval = std::chrono::milliseconds(100);
constexpr auto kLineInterval = std::chrono::seconds(5);
constexpr std::int64_t kMaxUnloggedChunks = 64;
constexpr const char* kEraseLine = "\r\x1b[2K";

int terminal_columns(int fd) {
  winsize size{};
  if (ioctl(fd, TIOCGWINSZ, &size) != 0 || size.ws_col == 0) return 80;
  return size.ws_col;
}

}  // namespace

Console::Console(int output_fd, int error_fd, bool quiet)
    : output_(output_fd),
      error_(error_fd),
      one_terminal_(output_.is_terminal() && error_.is_terminal()),
      quiet_(quiet) {}

OutputStream& Console::stream(Channel channel) {
  return channel == Channel::kError || one_terminal_ ? error_ : output_;
}

void Console::note(const std::string& text) {
  if (!quiet_) add_line(text);
}

void Console::error(const std::string& text) { add_line(text); }

void Console::add_line(const std::string& text) {
  erase_bar();
  // Rank 0 may have stopped in the middle of a line.
  if (!error_.at_line_start()) error_.add_text("\n");
  error_.add_text("muster: " + text + "\n");
}

void Console::mirror(Channel channel, std::shared_ptr<const LogFile> log, std::int64_t offset_bytes,
                     std::string_view bytes) {
  if (bytes.empty()) return;
  erase_bar();
  stream(channel).add_log(std::move(log), offset_bytes, static_cast<std::int64_t>(bytes.size()),
                          bytes.back() == '\n');
}

void Console::mirror_unlogged(Channel channel, std::string_view bytes) {
  if (bytes.empty()) return;
  erase_bar();
  OutputStream& out = stream(channel);
  if (out.queued_items() >= kMaxUnloggedChunks) {
    dropped_bytes_ += static_cast<std::int64_t>(bytes.size());
    return;
  }
  out.add_text(std::string(bytes));
}

void Console::show_progress(const ProgressView& view, TimePoint now) {
  if (quiet_) return;
  view_ = view;
  const bool is_last = view.progress.step == view.progress.total_steps;
  if (error_.is_terminal()) {
    bar_is_stale_ = is_last || !bar_is_drawn_ || now - last_draw_ >= kDrawInterval;
    if (bar_is_stale_) last_draw_ = now;
    return;
  }
  if (last_line_ && now - *last_line_ < kLineInterval && !is_last) return;
  last_line_ = now;
  add_line(progress_line(view));
}

void Console::end_progress() {
  erase_bar();
  view_.reset();
  last_line_.reset();
}

bool Console::bar_may_be_drawn() const {
  return view_ && error_.is_terminal() && !error_.pending() && error_.at_line_start();
}

void Console::erase_bar() {
  if (!bar_is_drawn_) return;
  bar_is_drawn_ = false;
  error_.add_text(kEraseLine);
  error_.set_at_line_start();
}

void Console::draw_bar() {
  error_.add_text(kEraseLine + progress_bar(*view_, terminal_columns(error_.fd())));
  error_.set_at_line_start();  // the bar is no line of text: it will be erased
  bar_is_drawn_ = true;
  bar_is_stale_ = false;
  error_.pump();
}

void Console::pump() {
  output_.pump();
  error_.pump();
  if (bar_may_be_drawn() && (!bar_is_drawn_ || bar_is_stale_)) draw_bar();
}

}  // namespace muster::launcher
