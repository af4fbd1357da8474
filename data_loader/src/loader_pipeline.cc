// Producer and consumer of micro-batches.
#include "loader_pipeline.h"

#include <pthread.h>
#include <signal.h>

#include <string>
#include <utility>

#include "fetch.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

// Threads inherit the mask: signals go to threads that expect them, never to a loader's.
class AllSignalsBlocked {
 public:
  AllSignalsBlocked() {
    sigset_t all;
    sigfillset(&all);
    pthread_sigmask(SIG_BLOCK, &all, &previous_);
  }
  ~AllSignalsBlocked() { pthread_sigmask(SIG_SETMASK, &previous_, nullptr); }
  AllSignalsBlocked(const AllSignalsBlocked&) = delete;
  AllSignalsBlocked& operator=(const AllSignalsBlocked&) = delete;

 private:
  sigset_t previous_;
};

}  // namespace

LoaderPipeline::LoaderPipeline(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options,
                               const BatchPlan& plan)
    : dataset_(std::move(dataset)),
      options_(options),
      plan_(plan),
      sampler_(plan.samples, options.seed, options.shuffle),
      delivered_(plan, options.first_logical_rank, options.end_logical_rank, LoaderState{}),
      prepared_(delivered_) {
  const AllSignalsBlocked guard;
  thread_ = std::thread([this] { produce(); });
}

LoaderPipeline::~LoaderPipeline() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  room_.notify_one();
  thread_.join();
}

MicroBatch LoaderPipeline::next() {
  std::unique_lock lock(mutex_);
  const bool answered =
      ready_.wait_for(lock, options_.timeout, [this] { return !queue_.empty() || error_; });
  if (!answered) throw_timeout();
  if (queue_.empty()) std::rethrow_exception(error_);
  MicroBatch micro_batch = std::move(queue_.front());
  queue_.pop_front();
  lock.unlock();
  room_.notify_one();
  delivered_.advance();
  return micro_batch;
}

void LoaderPipeline::restart(LoaderState state) {
  const MicroBatchCursor start(plan_, options_.first_logical_rank, options_.end_logical_rank,
                               state);
  std::deque<MicroBatch> unwanted;  // freed after the lock
  {
    const std::lock_guard lock(mutex_);
    queue_.swap(unwanted);
    error_ = nullptr;
    prepared_ = start;
    ++restarts_;
  }
  delivered_ = start;
  room_.notify_one();
}

bool LoaderPipeline::has_room() const {
  return !error_ && queue_.size() < static_cast<std::size_t>(options_.prefetch_batches);
}

void LoaderPipeline::produce() {
  pthread_setname_np(pthread_self(), "muster_loader");
  std::unique_lock lock(mutex_);
  while (true) {
    room_.wait(lock, [this] { return stopping_ || has_room(); });
    if (stopping_) return;
    const MicroBatchCursor cursor = prepared_;
    const std::uint64_t restarts = restarts_;
    lock.unlock();
    MicroBatch micro_batch;
    std::exception_ptr error;
    try {
      micro_batch = prepare(cursor);
    } catch (...) {
      error = std::current_exception();
    }
    lock.lock();
    if (restarts != restarts_) continue;
    if (error) {
      error_ = error;
    } else {
      queue_.push_back(std::move(micro_batch));
      prepared_.advance();
    }
    ready_.notify_one();
  }
}

MicroBatch LoaderPipeline::prepare(const MicroBatchCursor& cursor) const {
  MicroBatch micro_batch = cursor.describe();
  const std::vector<std::int64_t> ids = sample_ids(cursor);
  if (!ids.empty()) {
    micro_batch.batch = fetch(*dataset_, ids, micro_batch.epoch, micro_batch.position);
  }
  return micro_batch;
}

std::vector<std::int64_t> LoaderPipeline::sample_ids(const MicroBatchCursor& cursor) const {
  const PositionRange positions = cursor.positions();
  std::vector<std::int64_t> ids;
  ids.reserve(static_cast<std::size_t>(positions.size()));
  for (std::int64_t position = positions.begin; position < positions.end; ++position) {
    ids.push_back(sampler_.sample(cursor.state().epoch, position));
  }
  return ids;
}

void LoaderPipeline::throw_timeout() const {
  const LoaderState step = delivered_.state();
  const PositionRange positions = delivered_.positions();
  throw Timeout("data loader: expected the micro-batch of positions " +
                std::to_string(positions.begin) + " to " + std::to_string(positions.end) +
                " of epoch " + std::to_string(step.epoch) + " within " +
                std::to_string(options_.timeout.count()) +
                " ms; found Dataset::get() still at work. Look at the storage that it reads, or "
                "raise LoaderOptions::timeout");
}

}  // namespace muster::internal
