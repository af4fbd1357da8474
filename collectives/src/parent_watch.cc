// Looking, and ending.
#include "parent_watch.h"

#include <signal.h>
#include <unistd.h>

#include <chrono>

#include "muster/base/log.h"

namespace muster::internal {
namespace {

constexpr auto kBetweenLooks = std::chrono::milliseconds(500);

}  // namespace

ParentWatch::ParentWatch() : parent_(getppid()), thread_([this] { watch(); }) {}

ParentWatch::~ParentWatch() {
  {
    const std::lock_guard<std::mutex> lock(mutex_);
    ending_ = true;
  }
  ended_.notify_one();
  thread_.join();
}

// By a signal to itself: whatever an orderly end would call may wait for those that are gone.
void ParentWatch::watch() {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!ended_.wait_for(lock, kBetweenLooks, [&] { return ending_; })) {
    if (getppid() == parent_) continue;
    MUSTER_LOG(ERROR) << "expected process " << parent_
                      << ", which started this rank, to outlive it, found it gone: this rank is "
                         "killed; start the job again";
    kill(getpid(), SIGKILL);
  }
}

}  // namespace muster::internal
