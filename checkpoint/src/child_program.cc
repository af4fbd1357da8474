// Spawning, two pipes and reaping.
#include "child_program.h"

#include <fcntl.h>
#include <poll.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <utility>

#include "muster/base/error.h"

extern char** environ;

namespace muster::checkpoint::internal {
namespace {

struct Pipe {
  int reading = -1;
  int writing = -1;

  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) {
      throw CheckpointError("cannot start a program: pipe2: " + errno_text(errno) +
                            "; raise the limit of open files (ulimit -n)");
    }
    reading = ends[0];
    writing = ends[1];
  }
  ~Pipe() {
    if (reading >= 0) close(reading);
    close(writing);
  }
  int take_reading() { return std::exchange(reading, -1); }
};

/// In a process group of its own, and deaf to no signal.
class SpawnSettings {
 public:
  SpawnSettings(int out, int err) {
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, out, STDOUT_FILENO);
    posix_spawn_file_actions_adddup2(&actions, err, STDERR_FILENO);
    sigset_t none;
    sigset_t all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setpgroup(&attributes, 0);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    posix_spawnattr_setflags(
        &attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
  }
  ~SpawnSettings() {
    posix_spawn_file_actions_destroy(&actions);
    posix_spawnattr_destroy(&attributes);
  }
  SpawnSettings(const SpawnSettings&) = delete;
  SpawnSettings& operator=(const SpawnSettings&) = delete;

  posix_spawn_file_actions_t actions;
  posix_spawnattr_t attributes;
};

/// Appends what there is to read. False once the other end is closed.
bool read_some(int fd, std::string& text) {
  char buffer[4096];
  const ssize_t got = read(fd, buffer, sizeof(buffer));
  if (got > 0) text.append(buffer, static_cast<std::size_t>(got));
  return got > 0 || (got < 0 && errno == EINTR);
}

}  // namespace

ChildProgram::ChildProgram(const std::vector<std::string>& words) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  Pipe out;
  Pipe err;
  const SpawnSettings settings(out.writing, err.writing);
  const int error = posix_spawnp(&pid_, arguments[0], &settings.actions, &settings.attributes,
                                 arguments.data(), environ);
  if (error == ENOENT) {
    throw ConfigError("expected the program " + words[0] +
                      " beside this one or on PATH, found none; install all of Muster's programs");
  }
  if (error != 0) throw CheckpointError("cannot start " + words[0] + ": " + errno_text(error));
  out_ = out.take_reading();
  err_ = err.take_reading();
}

ChildProgram::~ChildProgram() {
  stop();
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
  close(out_);
  close(err_);
}

ChildResult ChildProgram::wait() {
  ChildResult result;
  pollfd ends[] = {{.fd = out_, .events = POLLIN, .revents = 0},
                   {.fd = err_, .events = POLLIN, .revents = 0}};
  while (ends[0].fd >= 0 || ends[1].fd >= 0) {
    if (poll(ends, 2, -1) < 0) continue;
    if (ends[0].revents != 0 && !read_some(out_, result.out)) ends[0].fd = -1;
    if (ends[1].revents != 0 && !read_some(err_, result.err)) ends[1].fd = -1;
  }
  siginfo_t info{};
  // Not reaped before stop() is kept out: until then the number is nobody else's.
  while (waitid(P_PID, static_cast<id_t>(pid_), &info, WEXITED | WNOWAIT) != 0 && errno == EINTR) {
  }
  const std::lock_guard lock(mutex_);
  int status = 0;
  waitpid(std::exchange(pid_, 0), &status, 0);
  result.exit_code = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return result;
}

void ChildProgram::stop() {
  const std::lock_guard lock(mutex_);
  if (pid_ > 0) kill(pid_, SIGKILL);
}

}  // namespace muster::checkpoint::internal
