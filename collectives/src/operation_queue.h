// Runs operations in issue order: on a thread of its own, or on that of whoever waits for one.
#ifndef MUSTER_COLLECTIVES_SRC_OPERATION_QUEUE_H_
#define MUSTER_COLLECTIVES_SRC_OPERATION_QUEUE_H_

#include <ATen/core/Tensor.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "muster/collectives/work.h"
#include "transport.h"

namespace muster::internal {

/// At any time at most one thread, the *runner*, is inside the transport. A waiting caller becomes
/// the runner when there is none, so that a small operation that is waited for at once costs no
/// thread switch; else the progress thread does, so that operations overlap with computation.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
 public:
  static std::shared_ptr<OperationQueue> start(std::unique_ptr<Transport> transport,
                                               std::chrono::milliseconds timeout);
  ~OperationQueue() = default;

  /// Returns at once. `tensors` are kept until the operation has ended.
  std::shared_ptr<WorkState> submit(Operation operation, std::vector<at::Tensor> tensors);

  Transport& transport() { return *transport_; }

  /// Abandons what has not ended, and joins the progress thread. Work handles stay valid.
  void stop();

 private:
  class Item;

  OperationQueue(std::unique_ptr<Transport> transport, std::chrono::milliseconds timeout)
      : transport_(std::move(transport)), timeout_(timeout) {}

  void progress();
  void wait_for(const Item& item);
  /// Runs the first operation; `lock` is released meanwhile.
  void run_first(std::unique_lock<std::mutex>& lock);
  void end(Item& item, std::exception_ptr error);

  std::unique_ptr<Transport> transport_;
  const std::chrono::milliseconds timeout_;
  std::atomic<bool> abandoned_{false};
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable ended_;
  std::deque<std::shared_ptr<Item>> items_;  // the first may be running
  bool has_runner_ = false;
  bool progress_sleeps_ = false;  // without a timeout: a new item must wake it
  bool stopping_ = false;
  std::uint64_t next_sequence_ = 0;
  std::exception_ptr failure_;  // the first error; later operations get the same
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_OPERATION_QUEUE_H_
