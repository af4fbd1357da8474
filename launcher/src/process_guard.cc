// The guard's life.
#include "process_guard.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>

#include "muster/base/error.h"
#include "process_tree.h"

namespace muster::launcher {
namespace {

// Whoever reads the launcher's output must not have to wait for the guard's copies of it.
void keep_only(int fd) {
  const int null = open("/dev/null", O_RDWR);
  for (int standard = 0; standard <= 2; ++standard) dup2(null, standard);
  if (fd != 3) dup2(fd, 3);
  const long limit = sysconf(_SC_OPEN_MAX);
  if (close_range(4, ~0u, 0) == 0) return;
  for (int other = 4; other < limit; ++other) close(other);
}

void kill_marked(const std::string& mark) {
  // Again until a look finds none: a process may fork while it is being looked for. At most five
  // seconds.
  for (int look = 0; look < 1000; ++look) {
    const std::vector<pid_t> marked = processes_with_environment(mark);
    if (marked.empty()) return;
    for (const pid_t pid : marked) kill(pid, SIGKILL);
    const timespec pause{0, 5000000};
    nanosleep(&pause, nullptr);
  }
}

[[noreturn]] void live_as_guard(int lifeline, const std::string& run_id) {
  setsid();
  prctl(PR_SET_NAME, "muster-guard");
  for (const int signal : {SIGINT, SIGTERM, SIGHUP, SIGQUIT}) std::signal(signal, SIG_IGN);
  keep_only(lifeline);
  char farewell;
  ssize_t bytes;
  do {
    bytes = read(3, &farewell, 1);
  } while (bytes < 0 && errno == EINTR);
  if (bytes == 0) kill_marked("MUSTER_RUN_ID=" + run_id);
  _exit(0);
}

}  // namespace

ProcessGuard::ProcessGuard(const std::string& run_id) {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) throw InternalError("pipe2: " + errno_text(errno));
  FileDescriptor reading(ends[0]);
  lifeline_.reset(ends[1]);
  pid_ = fork();
  if (pid_ < 0) throw InternalError("fork: " + errno_text(errno));
  if (pid_ == 0) {
    lifeline_.reset();
    live_as_guard(reading.get(), run_id);
  }
}

ProcessGuard::~ProcessGuard() {
  // A guard that someone killed is no reason to die of SIGPIPE, which the supervisor ignores.
  const char farewell = 1;
  if (write(lifeline_.get(), &farewell, 1) == 1) waitpid(pid_, nullptr, 0);
}

}  // namespace muster::launcher
