// Children, their pipes and their deadlines.
#include "doctor/ask_child.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include "child.h"
#include "file_descriptor.h"
#include "muster/base/error.h"

namespace muster::launcher::doctor {
namespace {

using Clock = std::chrono::steady_clock;

/// A pipe's reading end and what came out of it.
struct Stream {
  int fd;
  std::string* text;
  bool open = true;
};

void read_some(Stream& stream) {
  std::array<char, 4096> buffer;
  const ssize_t bytes = read(stream.fd, buffer.data(), buffer.size());
  if (bytes > 0) {
    stream.text->append(buffer.data(), static_cast<std::size_t>(bytes));
  } else if (bytes == 0 || (errno != EINTR && errno != EAGAIN)) {
    stream.open = false;
  }
}

/// Reads until all streams have ended; false when `deadline` passes first.
bool read_until(std::vector<Stream> streams, Clock::time_point deadline) {
  for (;;) {
    std::vector<pollfd> waits;
    for (const Stream& stream : streams) {
      waits.push_back({stream.open ? stream.fd : -1, POLLIN, 0});
    }
    bool any = false;
    for (const Stream& stream : streams) any = any || stream.open;
    if (!any) return true;
    const auto left = std::chrono::ceil<std::chrono::milliseconds>(deadline - Clock::now());
    if (left.count() <= 0) return false;
    poll(waits.data(), waits.size(), static_cast<int>(left.count()));
    for (std::size_t i = 0; i < waits.size(); ++i) {
      if (waits[i].revents != 0) read_some(streams[i]);
    }
  }
}

/// The wait status of `pid`; nothing when it is still there after `limit`.
std::optional<int> reap(pid_t pid, std::chrono::milliseconds limit) {
  const auto deadline = Clock::now() + limit;
  int status = 0;
  while (waitpid(pid, &status, WNOHANG) != pid) {
    if (Clock::now() > deadline) return std::nullopt;
    poll(nullptr, 0, 1);
  }
  return status;
}

constexpr std::chrono::seconds kLimitOfDying{1};

std::string why_it_ended(std::optional<int> status) {
  if (!status) return "it hangs in the kernel";
  if (WIFSIGNALED(*status)) {
    return std::string("it was killed by ") + strsignal(WTERMSIG(*status));
  }
  return "it left with exit code " + std::to_string(WEXITSTATUS(*status));
}

[[noreturn]] void answer_and_leave(const std::function<std::string()>& work, int fd) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  std::string text;
  int code = 0;
  try {
    text = work();
  } catch (const std::exception& e) {
    text = e.what();
    code = 1;
  }
  for (std::size_t sent = 0; sent < text.size();) {
    const ssize_t bytes = write(fd, text.data() + sent, text.size() - sent);
    if (bytes < 0 && errno != EINTR) _exit(2);
    if (bytes > 0) sent += static_cast<std::size_t>(bytes);
  }
  _exit(code);
}

}  // namespace

Answer ask_child(const std::function<std::string()>& work, std::chrono::milliseconds limit) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) return {"", "pipe2: " + errno_text(errno)};
  const FileDescriptor reading(ends[0]);
  FileDescriptor writing(ends[1]);
  const pid_t pid = fork();
  if (pid < 0) return {"", "fork: " + errno_text(errno)};
  if (pid == 0) answer_and_leave(work, writing.get());
  writing.reset();
  std::string text;
  const bool ended = read_until({{reading.get(), &text}}, Clock::now() + limit);
  if (!ended) kill(pid, SIGKILL);
  const std::optional<int> status = reap(pid, kLimitOfDying);
  if (!ended) {
    return {"", "no answer within " + std::to_string(limit.count()) + " ms" +
                    (status ? "" : ", and it cannot be killed")};
  }
  if (status == 0) return {text, ""};
  return {"", text.empty() ? why_it_ended(status) : text};
}

ProgramOutput run_program(const std::vector<std::string>& words,
                          const std::vector<std::string>& environment,
                          std::chrono::milliseconds limit) {
  const ChildSpec spec{words.front(), words, environment, {}};
  Child child = start_child(spec);
  try {
    confirm_started(child, spec);
  } catch (const ConfigError&) {
    reap(child.pid, kLimitOfDying);
    throw;
  }
  ProgramOutput result;
  const std::vector<Stream> streams = {{child.standard_output.get(), &result.output},
                                       {child.standard_error.get(), &result.error_output}};
  result.timed_out = !read_until(streams, Clock::now() + limit);
  if (result.timed_out) kill(child.pid, SIGTERM);
  std::optional<int> status = reap(child.pid, kLimitOfDying);
  if (!status) {
    kill(-child.pid, SIGKILL);  // it leads a session of its own
    status = reap(child.pid, kLimitOfDying);
  }
  if (status) {
    result.exit_code = WIFEXITED(*status) ? WEXITSTATUS(*status) : 128 + WTERMSIG(*status);
  }
  return result;
}

}  // namespace muster::launcher::doctor
