// The handle of an operation that may still be running.
#ifndef MUSTER_COLLECTIVES_WORK_H_
#define MUSTER_COLLECTIVES_WORK_H_

#include <chrono>
#include <memory>
#include <utility>

namespace muster {

namespace internal {

/// What a transport knows of one operation in flight.
class WorkState {
 public:
  virtual ~WorkState() = default;
  virtual bool done() const = 0;
  virtual void wait() = 0;
  virtual bool wait_for(std::chrono::milliseconds timeout) = 0;
};

}  // namespace internal

/// A cheap handle of one operation; copies share it. It keeps the operation's tensors alive until
/// the operation ends.
class Work {
 public:
  explicit Work(std::shared_ptr<internal::WorkState> state) : state_(std::move(state)) {}

  /// True when wait() would return or throw at once. Never blocks. Any thread.
  bool done() const { return state_->done(); }

  /// Blocks until the operation has ended and its results are valid. May run queued operations on
  /// the caller's thread. Throws PeerLost when another rank died or left, Timeout when the deadline
  /// passed, Mismatch when ranks called different operations; again at each call. Any thread.
  void wait() { state_->wait(); }

  /// The same for at most `timeout`: false when the operation is still running then, which does not
  /// harm it. Any thread.
  bool wait_for(std::chrono::milliseconds timeout) { return state_->wait_for(timeout); }

 private:
  std::shared_ptr<internal::WorkState> state_;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_WORK_H_
