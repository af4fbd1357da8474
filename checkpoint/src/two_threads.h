// Two threads that share a row of tasks, so that one can compute while the other waits for the
// disk.
#ifndef MUSTER_CHECKPOINT_SRC_TWO_THREADS_H_
#define MUSTER_CHECKPOINT_SRC_TWO_THREADS_H_

#include <atomic>
#include <cstddef>
#include <exception>
#include <thread>

namespace muster::checkpoint::internal {

/// Calls `task(i)` once for each i in [0, count): on the caller's thread alone for
/// `one_thread_up_to` tasks or fewer, else on two. After an error no further task is begun; the
/// first is thrown.
template <typename Task>
void share_tasks(std::size_t count, std::size_t one_thread_up_to, const Task& task) {
  std::atomic<std::size_t> next{0};
  std::exception_ptr errors[2];
  const auto work = [&](std::exception_ptr* error) {
    try {
      for (std::size_t i = next++; i < count; i = next++) task(i);
    } catch (...) {
      *error = std::current_exception();
      next = count;
    }
  };
  if (count <= one_thread_up_to) {
    work(&errors[0]);
  } else {
    std::thread other(work, &errors[1]);
    work(&errors[0]);
    other.join();
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_TWO_THREADS_H_
