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
#include <functional>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "muster/base/flight_recorder.h"
#include "muster/collectives/work.h"
#include "transport.h"

namespace muster::internal {

/// At any time at most one thread, the *runner*, is inside the transport. A waiting caller becomes
/// the runner when there is none, so that a small operation that is waited for at once costs no
/// thread switch; else the progress thread does, so that operations overlap with computation.
///
/// Sends and receives that stand together at the head of the queue are under way together: the
/// runner turns from one to the next, and they end in any order.
class OperationQueue : public std::enable_shared_from_this<OperationQueue> {
 public:
  /// `communicator` names the queue's in messages; "" for the world's. Each operation's course is
  /// recorded in `flight`.
  static std::shared_ptr<OperationQueue> start(std::unique_ptr<Transport> transport,
                                               const std::string& communicator,
                                               std::chrono::milliseconds timeout,
                                               FlightLane flight = {});
  ~OperationQueue();

  /// Returns at once. `tensors` are kept until the operation has ended; for ever where the
  /// transport could not be made to let go of their memory.
  std::shared_ptr<WorkState> submit(Operation operation, std::vector<at::Tensor> tensors);

  /// The same for an operation with a deadline of its own.
  std::shared_ptr<WorkState> submit_within(std::chrono::milliseconds timeout, Operation operation);

  /// The same for a part of the operation's work that is more than the transport's run(): `body` is
  /// called in its place, as the runner.
  std::shared_ptr<WorkState> submit_with(Operation operation,
                                         std::function<void(Transport&, const OperationRun&)> body);

  Transport& transport() { return *transport_; }

  /// Ends all operations, and all later ones, with PeerLost naming `reason`. Any thread; blocks
  /// until the one that is running has noticed.
  void abort(const std::string& reason) { interrupt(Interruption::Cause::kAborted, reason); }

  /// Abandons what has not ended, and joins the progress thread. Work handles stay valid.
  void stop();

 private:
  class Item;

  OperationQueue(std::unique_ptr<Transport> transport, std::string communicator,
                 std::chrono::milliseconds timeout, FlightLane flight);

  std::shared_ptr<WorkState> add(std::shared_ptr<Item> item);
  void interrupt(Interruption::Cause cause, const std::string& reason);
  void progress();
  void wait_for(const Item& item);
  bool wait_until(const Item& item, std::chrono::steady_clock::time_point deadline);
  /// Runs the first operation, or turns once to each transfer at the head. `lock` is released
  /// meanwhile.
  void run_some(std::unique_lock<std::mutex>& lock);
  std::vector<std::shared_ptr<Item>> transfers_at_head() const;
  void turn_to(const std::vector<std::shared_ptr<Item>>& transfers,
               std::vector<std::shared_ptr<Item>>& ended);
  void check_in_time(const std::vector<std::shared_ptr<Item>>& transfers);
  void end(const std::vector<std::shared_ptr<Item>>& ended, const std::exception_ptr& error);
  void fail(const std::exception_ptr& error);

  std::unique_ptr<Transport> transport_;
  const std::string communicator_;
  const std::chrono::milliseconds timeout_;
  const FlightLane flight_;
  Interruption interruption_;
  std::atomic<int> waiters_{0};  // threads inside wait_for()
  std::thread thread_;

  std::mutex mutex_;
  std::condition_variable submitted_;
  std::condition_variable ended_;
  std::deque<std::shared_ptr<Item>> items_;  // the first may be running
  bool has_runner_ = false;
  bool progress_sleeps_ = false;  // without a timeout: a new item must wake it
  bool stopping_ = false;
  std::uint64_t next_sequence_ = 0;                   // of collectives
  std::uint64_t next_transfer_sequence_ = 0;          // of transfers, which concern not all ranks
  std::uint64_t turns_ = 0;                           // of transfers
  int idle_turns_ = 0;                                // in a row, in which none went on
  std::chrono::steady_clock::time_point next_check_;  // of transfers' peers
  std::exception_ptr failure_;  // the first error; later operations get the same
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_OPERATION_QUEUE_H_
