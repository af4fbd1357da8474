// signalfd and what it needs.
#include "signal_source.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

bool is_ignored(int signal) {
  struct sigaction action {};
  return sigaction(signal, nullptr, &action) == 0 && action.sa_handler == SIG_IGN;
}

}  // namespace

SignalSource::SignalSource() {
  // With SIGCHLD ignored the kernel would throw the ranks' exit codes away.
  std::signal(SIGCHLD, SIG_DFL);
  sigset_t wanted;
  sigemptyset(&wanted);
  sigaddset(&wanted, SIGCHLD);
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) {
    if (!is_ignored(signal)) sigaddset(&wanted, signal);
  }
  struct sigaction ignore {};
  ignore.sa_handler = SIG_IGN;
  sigaction(SIGPIPE, &ignore, &old_pipe_action_);
  sigprocmask(SIG_BLOCK, &wanted, &old_mask_);
  fd_.reset(signalfd(-1, &wanted, SFD_NONBLOCK | SFD_CLOEXEC));
  if (!fd_.is_open()) throw InternalError("signalfd: " + errno_text(errno));
}

SignalSource::~SignalSource() {
  sigprocmask(SIG_SETMASK, &old_mask_, nullptr);
  sigaction(SIGPIPE, &old_pipe_action_, nullptr);
}

std::vector<int> SignalSource::take() {
  std::vector<int> signals;
  signalfd_siginfo info;
  while (read(fd_.get(), &info, sizeof info) == sizeof info) {
    signals.push_back(static_cast<int>(info.ssi_signo));
  }
  return signals;
}

}  // namespace muster::launcher
