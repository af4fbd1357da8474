// Which processes the ranks are, for those who stop and end them; and stopping oneself.
#ifndef MUSTER_TESTS_END_TO_END_PROGRAMS_PROCESSES_H_
#define MUSTER_TESTS_END_TO_END_PROGRAMS_PROCESSES_H_

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdint>
#include <thread>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::testing {

/// By rank. Collective.
inline std::vector<std::int64_t> processes_of(Communicator& world) {
  at::Tensor own = at::full({1}, static_cast<std::int64_t>(getpid()), at::kLong);
  at::Tensor all = at::empty({world.world_size()}, at::kLong);
  world.all_gather(all, own).wait();
  const auto* begin = all.const_data_ptr<std::int64_t>();
  return {begin, begin + all.numel()};
}

/// Stops this process after `delay`, wherever its other threads are then.
inline std::thread stop_after(std::chrono::microseconds delay) {
  return std::thread([delay] {
    const auto end = std::chrono::steady_clock::now() + delay;
    while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
    kill(getpid(), SIGSTOP);
  });
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_PROGRAMS_PROCESSES_H_
