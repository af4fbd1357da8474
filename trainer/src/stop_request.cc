// Stop requests.
#include "stop_request.h"

#include <atomic>
#include <csignal>

namespace muster::internal {
namespace {

// A signal handler can reach nothing but a global.
std::atomic<int> g_signal{0};
static_assert(std::atomic<int>::is_always_lock_free);

void on_signal(int signal) { g_signal.store(signal); }

}  // namespace

void install_stop_signals() {
  struct sigaction action {};
  action.sa_handler = on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;
  sigaction(SIGTERM, &action, nullptr);
  action.sa_flags = SA_RESTART | static_cast<int>(SA_RESETHAND);
  sigaction(SIGINT, &action, nullptr);
}

StopReason StopRequest::poll() {
  const int signal = g_signal.load();
  if (signal == SIGINT) reason_ = StopReason::kInterrupt;
  if (signal == SIGTERM) reason_ = StopReason::kPreempt;
  while (control_ != nullptr) {
    const auto message = control_->receive();
    if (!message) break;
    if (const auto* stop = std::get_if<Stop>(&*message)) {
      reason_ = stop->reason == "interrupt" ? StopReason::kInterrupt : StopReason::kPreempt;
    }
  }
  return reason_;
}

}  // namespace muster::internal
