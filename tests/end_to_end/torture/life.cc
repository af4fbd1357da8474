// The pipe, the lines on it and the signals.
#include "life.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <sstream>

#include "muster/base/check.h"

namespace muster::testing {

using Clock = std::chrono::steady_clock;

Life::Life(const std::vector<std::string>& arguments) {
  std::vector<char*> words = {const_cast<char*>(MUSTER_CHECKPOINT_RUN)};
  for (const std::string& argument : arguments)
    words.push_back(const_cast<char*>(argument.c_str()));
  words.push_back(nullptr);
  int ends[2];
  MUSTER_CHECK_EQ(pipe2(ends, O_CLOEXEC), 0);
  pid_ = fork();
  MUSTER_CHECK_GE(pid_, 0);
  if (pid_ == 0) {
    setpgid(0, 0);
    const int nothing = open("/dev/null", O_RDWR);
    if (dup2(nothing, 0) < 0 || dup2(ends[1], 1) < 0) _exit(127);
    execv(words[0], words.data());
    _exit(127);
  }
  setpgid(pid_, pid_);  // on both sides: whichever is first
  close(ends[1]);
  output_ = ends[0];
}

Life::~Life() {
  kill_all();
  close(output_);
  if (pid_ > 0) waitpid(pid_, nullptr, 0);
}

bool Life::watch(std::chrono::microseconds time) {
  const auto deadline = Clock::now() + time;
  while (!ended_) {
    const auto left = deadline - Clock::now();
    if (left.count() < 0) break;
    const timespec timeout = {
        .tv_sec = std::chrono::duration_cast<std::chrono::seconds>(left).count(),
        .tv_nsec = left.count() % 1'000'000'000};
    pollfd waited = {.fd = output_, .events = POLLIN, .revents = 0};
    if (ppoll(&waited, 1, &timeout, nullptr) <= 0) continue;
    char buffer[4096];
    const ssize_t got = read(output_, buffer, sizeof(buffer));
    if (got == 0) ended_ = true;
    for (ssize_t i = 0; i < got; ++i) {
      if (buffer[i] != '\n') {
        partial_line_ += buffer[i];
      } else {
        take(partial_line_);
        partial_line_.clear();
      }
    }
  }
  return ended_;
}

pid_t Life::pid_of(int rank) const {
  const auto found = ranks_.find(rank);
  return found == ranks_.end() ? 0 : found->second;
}

void Life::kill_all() const {
  if (pid_ > 0) kill(-pid_, SIGKILL);
}

int Life::finish(std::chrono::seconds timeout) {
  if (!watch(timeout)) {
    ADD_FAILURE() << "expected the run to end within " << timeout.count()
                  << " s, found it running; it last saved step " << last_saved();
    kill_all();
    watch(timeout);
  }
  int status = 0;
  waitpid(pid_, &status, 0);
  pid_ = -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

void Life::take(const std::string& line) {
  std::istringstream words(line);
  std::string kind;
  words >> kind;
  std::int64_t number = 0;
  if (kind == "rank") {
    int rank = 0;
    words >> rank >> ranks_[rank];
  } else if (kind == "restored") {
    words >> restored_;
  } else if (kind == "saved") {
    words >> number;
    saved_.push_back(number);
  } else if (kind == "failed") {
    failures_.push_back(line);
  } else if (kind == "error") {
    errors_.push_back(line);
  } else if (kind == "calls") {
    int rank = 0;
    words >> rank >> calls_[rank];
  } else if (kind == "point") {
    int rank = 0;
    int count = 0;
    words >> rank >> count >> std::ws;
    std::string name;
    std::getline(words, name);
    points_[rank][name] = count;
  }
}

}  // namespace muster::testing
