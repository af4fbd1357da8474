// Threads that share a row of tasks, so that one can compute while others wait for the disk.
#ifndef MUSTER_CHECKPOINT_SRC_SHARED_TASKS_H_
#define MUSTER_CHECKPOINT_SRC_SHARED_TASKS_H_

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <thread>
#include <vector>

#include "muster/checkpoint/shard_record.h"

namespace muster::checkpoint::internal {

/// Bodies are shared in slices of so many bytes, of whole chunks.
inline constexpr std::int64_t kSliceBytes = 4 * kChunkBytes;

/// One computes a checksum, two keep the disk busy.
inline constexpr std::size_t kMostThreads = 3;

/// For so few slices further threads cost more than they bring.
inline std::size_t threads_for(std::size_t slices) {
  constexpr std::size_t kSlicesForOneThread = 3;
  return slices <= kSlicesForOneThread ? 1 : kMostThreads;
}

/// Calls `task(i, thread)` once for each i in [0, count), begun in order, on `threads` threads (1
/// or more), of which the caller's is number 0. After an error no further task is begun; the first
/// thread's is thrown.
template <typename Task>
void share_tasks(std::size_t count, std::size_t threads, const Task& task) {
  std::atomic<std::size_t> next{0};
  std::vector<std::exception_ptr> errors(threads);
  const auto work = [&](std::size_t thread) {
    try {
      for (std::size_t i = next++; i < count; i = next++) task(i, thread);
    } catch (...) {
      errors[thread] = std::current_exception();
      next = count;
    }
  };
  {
    std::vector<std::jthread> others;
    for (std::size_t thread = 1; thread < threads; ++thread) others.emplace_back(work, thread);
    work(0);
  }
  for (const std::exception_ptr& error : errors) {
    if (error) std::rethrow_exception(error);
  }
}

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_SHARED_TASKS_H_
