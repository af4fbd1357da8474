// The runner's role and how it passes between threads.
#include "operation_queue.h"

#include <utility>

namespace muster::internal {
namespace {

// While operations keep coming the progress thread naps instead of sleeping, which saves their
// callers a wake-up.
constexpr auto kNap = std::chrono::microseconds(50);
constexpr int kNapsBeforeSleep = 20;

}  // namespace

class OperationQueue::Item : public WorkState {
 public:
  Item(std::shared_ptr<OperationQueue> queue, Operation operation, std::vector<at::Tensor> tensors,
       std::uint64_t sequence)
      : queue_(std::move(queue)),
        operation_(std::move(operation)),
        tensors_(std::move(tensors)),
        sequence_(sequence) {}

  bool done() const override { return ended_.load(std::memory_order_acquire); }

  void wait() override {
    if (!done()) queue_->wait_for(*this);
    if (error_) std::rethrow_exception(error_);
  }

  void run(Transport& transport, std::chrono::milliseconds timeout,
           const std::atomic<bool>& abandoned) {
    transport.run(OperationRun(operation_, sequence_, timeout, abandoned));
  }

  void end(std::exception_ptr error) {
    error_ = std::move(error);
    tensors_.clear();
    ended_.store(true, std::memory_order_release);
  }

 private:
  std::shared_ptr<OperationQueue> queue_;
  Operation operation_;
  std::vector<at::Tensor> tensors_;
  std::uint64_t sequence_;
  std::atomic<bool> ended_{false};
  std::exception_ptr error_;  // written before ended_
};

std::shared_ptr<OperationQueue> OperationQueue::start(std::unique_ptr<Transport> transport,
                                                      std::chrono::milliseconds timeout) {
  std::shared_ptr<OperationQueue> queue(new OperationQueue(std::move(transport), timeout));
  queue->thread_ = std::thread([raw = queue.get()] { raw->progress(); });
  return queue;
}

std::shared_ptr<WorkState> OperationQueue::submit(Operation operation,
                                                  std::vector<at::Tensor> tensors) {
  std::unique_lock<std::mutex> lock(mutex_);
  auto item = std::make_shared<Item>(shared_from_this(), std::move(operation), std::move(tensors),
                                     next_sequence_++);
  if (failure_) {
    end(*item, failure_);
    return item;
  }
  items_.push_back(item);
  if (progress_sleeps_) submitted_.notify_one();
  return item;
}

void OperationQueue::stop() {
  std::unique_lock<std::mutex> lock(mutex_);
  stopping_ = true;
  abandoned_.store(true, std::memory_order_relaxed);
  submitted_.notify_one();
  // Each run fails at once now, and with it all that stand behind.
  while (!items_.empty()) {
    if (has_runner_) {
      ended_.wait(lock);
    } else {
      run_first(lock);
    }
  }
  lock.unlock();
  if (thread_.joinable()) thread_.join();
  transport_.reset();  // handles of ended work may outlive what the transport stands on
}

void OperationQueue::progress() {
  std::unique_lock<std::mutex> lock(mutex_);
  int idle_naps = 0;
  while (!stopping_) {
    if (!items_.empty() && !has_runner_) {
      run_first(lock);
      idle_naps = 0;
    } else if (items_.empty() && idle_naps >= kNapsBeforeSleep) {
      progress_sleeps_ = true;
      submitted_.wait(lock);
      progress_sleeps_ = false;
      idle_naps = 0;
    } else {
      idle_naps = items_.empty() ? idle_naps + 1 : 0;
      submitted_.wait_for(lock, kNap);
    }
  }
}

void OperationQueue::wait_for(const Item& item) {
  std::unique_lock<std::mutex> lock(mutex_);
  while (!item.done()) {
    if (has_runner_) {
      ended_.wait(lock);
    } else {
      run_first(lock);
    }
  }
}

void OperationQueue::run_first(std::unique_lock<std::mutex>& lock) {
  const std::shared_ptr<Item> item = items_.front();
  has_runner_ = true;
  lock.unlock();
  std::exception_ptr error;
  try {
    item->run(*transport_, timeout_, abandoned_);
  } catch (...) {
    error = std::current_exception();
    transport_->give_up();
  }
  lock.lock();
  has_runner_ = false;
  items_.pop_front();
  end(*item, error);
  if (error) {
    failure_ = error;
    for (const auto& behind : items_) end(*behind, error);
    items_.clear();
  }
  ended_.notify_all();
}

void OperationQueue::end(Item& item, std::exception_ptr error) { item.end(std::move(error)); }

}  // namespace muster::internal
