// The runner's role and how it passes between threads.
#include "operation_queue.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "deadline.h"
#include "flight_call.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

// While operations keep coming the progress thread naps instead of sleeping, which saves their
// callers a wake-up. Each nap in which it was not needed is followed by one twice as long: callers
// that wait at once run their operations themselves, and want the core for it.
constexpr auto kFirstNap = std::chrono::microseconds(50);
constexpr auto kLongestNap = std::chrono::microseconds(800);
// Turns in which no transfer went on, before the runner naps between turns.
constexpr int kTurnsBeforeNap = 1000;
// Between two looks at the peers' health, whatever goes on meanwhile: data for one peer say nothing
// of another.
constexpr auto kBetweenHealthLooks = std::chrono::milliseconds(2);
// And of turns without a nap between two looks at the clock.
constexpr int kTurnsBetweenClockReads = 64;

// A caller with nothing else to do.
class Waiter {
 public:
  explicit Waiter(std::atomic<int>& waiters) : waiters_(waiters) { ++waiters_; }
  ~Waiter() { --waiters_; }
  Waiter(const Waiter&) = delete;
  Waiter& operator=(const Waiter&) = delete;

 private:
  std::atomic<int>& waiters_;
};

}  // namespace

class OperationQueue::Item : public WorkState {
 public:
  using Body = std::function<void(Transport&, const OperationRun&)>;

  Item(std::shared_ptr<OperationQueue> queue, Operation operation, std::vector<at::Tensor> tensors,
       Body body, std::chrono::milliseconds timeout)
      : queue_(std::move(queue)),
        timeout_(timeout),
        operation_(std::move(operation)),
        tensors_(std::move(tensors)),
        body_(std::move(body)) {}

  bool done() const override { return ended_.load(std::memory_order_acquire); }

  void wait() override {
    if (!done()) queue_->wait_for(*this);
    if (error_) std::rethrow_exception(error_);
  }

  bool wait_for(std::chrono::milliseconds timeout) override {
    const auto deadline = deadline_after(timeout);
    if (!done() && !queue_->wait_until(*this, deadline)) return false;
    wait();
    return true;
  }

  bool is_transfer() const { return operation_.flow() == Flow::kPeer; }
  /// The same direction between the same ranks: one must end before the other begins.
  bool shares_channel(const Item& other) const {
    return operation_.signature.kind == other.operation_.signature.kind &&
           operation_.peer == other.operation_.peer;
  }

  void set_sequence(std::uint64_t sequence) {
    sequence_ = sequence;
    flight_ = queue_->flight_.queued(sequence, flight_call(operation_));
  }

  void run(Transport& transport) {
    begin();
    if (body_) {
      body_(transport, *run_);
    } else {
      transport.run(*run_);
    }
  }

  /// One turn of a transfer.
  Turn advance(Transport& transport) {
    if (!transfer_) {
      begin();
      transfer_ = transport.start_transfer(*run_);
    }
    return transfer_->advance(*run_);
  }
  void check() { transfer_->check(*run_); }

  /// What it leaves under way is the transport's to end.
  void let_go() { transfer_.reset(); }

  /// Where it has begun and may still be under way.
  void keep_tensors() noexcept {
    if (run_) keep_for_ever(std::move(tensors_));
  }

  void end(std::exception_ptr error) {
    error_ = std::move(error);
    if (error_) {
      flight_.failed();
    } else {
      flight_.ended();
    }
    transfer_.reset();
    tensors_.clear();
    body_ = nullptr;
    ended_.store(true, std::memory_order_release);
  }

 private:
  void begin() {
    run_.emplace(operation_, sequence_, queue_->communicator_, timeout_, queue_->interruption_,
                 queue_->waiters_);
    flight_.started(run_->started());
  }

  std::shared_ptr<OperationQueue> queue_;
  std::chrono::milliseconds timeout_;
  Operation operation_;
  std::vector<at::Tensor> tensors_;
  Body body_;
  std::uint64_t sequence_ = 0;
  FlightEntry flight_;
  std::optional<OperationRun> run_;
  std::unique_ptr<Transfer> transfer_;
  std::atomic<bool> ended_{false};
  std::exception_ptr error_;  // written before ended_
};

OperationQueue::OperationQueue(std::unique_ptr<Transport> transport, std::string communicator,
                               std::chrono::milliseconds timeout, FlightLane flight)
    : transport_(std::move(transport)),
      communicator_(std::move(communicator)),
      timeout_(timeout),
      flight_(std::move(flight)) {}

OperationQueue::~OperationQueue() = default;

std::shared_ptr<OperationQueue> OperationQueue::start(std::unique_ptr<Transport> transport,
                                                      const std::string& communicator,
                                                      std::chrono::milliseconds timeout,
                                                      FlightLane flight) {
  std::shared_ptr<OperationQueue> queue(
      new OperationQueue(std::move(transport), communicator, timeout, std::move(flight)));
  queue->thread_ = std::thread([raw = queue.get()] { raw->progress(); });
  return queue;
}

std::shared_ptr<WorkState> OperationQueue::submit(Operation operation,
                                                  std::vector<at::Tensor> tensors) {
  return add(std::make_shared<Item>(shared_from_this(), std::move(operation), std::move(tensors),
                                    nullptr, timeout_));
}

std::shared_ptr<WorkState> OperationQueue::submit_within(std::chrono::milliseconds timeout,
                                                         Operation operation) {
  return add(std::make_shared<Item>(shared_from_this(), std::move(operation),
                                    std::vector<at::Tensor>{}, nullptr, timeout));
}

std::shared_ptr<WorkState> OperationQueue::submit_with(
    Operation operation, std::function<void(Transport&, const OperationRun&)> body) {
  return add(std::make_shared<Item>(shared_from_this(), std::move(operation),
                                    std::vector<at::Tensor>{}, std::move(body), timeout_));
}

std::shared_ptr<WorkState> OperationQueue::add(std::shared_ptr<Item> item) {
  std::unique_lock<std::mutex> lock(mutex_);
  item->set_sequence(item->is_transfer() ? next_transfer_sequence_++ : next_sequence_++);
  if (failure_) {
    item->end(failure_);
    return item;
  }
  items_.push_back(item);
  if (progress_sleeps_) submitted_.notify_one();
  return item;
}

void OperationQueue::interrupt(Interruption::Cause cause, const std::string& reason) {
  interruption_.set(cause, reason);
  std::unique_lock<std::mutex> lock(mutex_);
  while (has_runner_) ended_.wait(lock);
  if (failure_) return;
  try {
    interruption_.raise("communicator");
  } catch (...) {
    transport_->give_up(std::current_exception());
    fail(std::current_exception());
  }
}

void OperationQueue::stop() {
  std::unique_lock<std::mutex> lock(mutex_);
  stopping_ = true;
  submitted_.notify_one();
  const bool pending = !items_.empty();
  lock.unlock();
  if (pending) {
    interrupt(Interruption::Cause::kAbandoned,
              "abandoned, since the communicator was destroyed before anybody waited for its work; "
              "wait for all work first");
  }
  if (thread_.joinable()) thread_.join();
  transport_.reset();  // handles of ended work may outlive what the transport stands on
}

void OperationQueue::progress() {
  std::unique_lock<std::mutex> lock(mutex_);
  auto nap = kFirstNap;
  while (!stopping_) {
    if (!items_.empty() && !has_runner_) {
      run_some(lock);
      nap = kFirstNap;
    } else if (items_.empty() && nap > kLongestNap) {
      progress_sleeps_ = true;
      submitted_.wait(lock);
      progress_sleeps_ = false;
      nap = kFirstNap;
    } else {
      submitted_.wait_for(lock, nap);
      nap = std::min(2 * nap, 2 * kLongestNap);
    }
  }
}

void OperationQueue::wait_for(const Item& item) {
  const Waiter waiter(waiters_);
  std::unique_lock<std::mutex> lock(mutex_);
  while (!item.done()) {
    if (has_runner_) {
      ended_.wait(lock);
    } else {
      run_some(lock);
    }
  }
}

// Leaves the running to the progress thread, which has no deadline.
bool OperationQueue::wait_until(const Item& item, std::chrono::steady_clock::time_point deadline) {
  std::unique_lock<std::mutex> lock(mutex_);
  return ended_.wait_until(lock, deadline, [&] { return item.done(); });
}

std::vector<std::shared_ptr<OperationQueue::Item>> OperationQueue::transfers_at_head() const {
  std::vector<std::shared_ptr<Item>> transfers;
  for (const auto& item : items_) {
    if (!item->is_transfer()) break;
    const bool must_wait =
        std::any_of(transfers.begin(), transfers.end(),
                    [&](const auto& earlier) { return earlier->shares_channel(*item); });
    if (!must_wait) transfers.push_back(item);
  }
  return transfers;
}

void OperationQueue::turn_to(const std::vector<std::shared_ptr<Item>>& transfers,
                             std::vector<std::shared_ptr<Item>>& ended) {
  ++turns_;
  ++idle_turns_;
  std::vector<std::shared_ptr<Item>> going_on;
  for (const auto& transfer : transfers) {
    const Turn turn = transfer->advance(*transport_);
    (turn == Turn::kEnded ? ended : going_on).push_back(transfer);
    if (turn != Turn::kIdle) idle_turns_ = 0;
  }
  const bool naps = idle_turns_ >= kTurnsBeforeNap;
  if (naps || turns_ % kTurnsBetweenClockReads == 0) check_in_time(going_on);
  if (naps) std::this_thread::sleep_for(kFirstNap);
}

void OperationQueue::check_in_time(const std::vector<std::shared_ptr<Item>>& transfers) {
  const auto now = std::chrono::steady_clock::now();
  if (now < next_check_) return;
  next_check_ = now + kBetweenHealthLooks;
  for (const auto& transfer : transfers) transfer->check();
}

void OperationQueue::run_some(std::unique_lock<std::mutex>& lock) {
  const std::vector<std::shared_ptr<Item>> transfers = transfers_at_head();
  const std::shared_ptr<Item> first = items_.front();
  has_runner_ = true;
  lock.unlock();
  std::vector<std::shared_ptr<Item>> ended;
  std::exception_ptr error;
  try {
    // One after the other may end well without a look at it.
    if (interruption_.is_set()) interruption_.raise("communicator");
    if (transfers.empty()) {
      first->run(*transport_);
      ended.push_back(first);
    } else {
      turn_to(transfers, ended);
    }
  } catch (...) {
    error = std::current_exception();
    transport_->give_up(error);
  }
  lock.lock();
  has_runner_ = false;
  end(ended, error);
}

void OperationQueue::end(const std::vector<std::shared_ptr<Item>>& ended,
                         const std::exception_ptr& error) {
  for (const auto& item : ended) {
    item->end(nullptr);
    items_.erase(std::find(items_.begin(), items_.end(), item));
  }
  if (error) fail(error);
  ended_.notify_all();
}

void OperationQueue::fail(const std::exception_ptr& error) {
  failure_ = error;
  for (const auto& item : items_) item->let_go();
  const bool in_flight = transport_->memory_in_flight();
  for (const auto& item : items_) {
    if (in_flight) item->keep_tensors();
    item->end(error);
  }
  items_.clear();
  ended_.notify_all();
}

}  // namespace muster::internal
