// The background thread and its one slot.
#include "muster/checkpoint/async_writer.h"

#include <condition_variable>
#include <exception>
#include <functional>
#include <mutex>
#include <thread>
#include <utility>
#include <variant>

#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "staging_block.h"

namespace muster::checkpoint {
namespace {

using Clock = std::chrono::steady_clock;

/// Retention reads the newest checkpoint back before it deletes an older one. When that one is then
/// set aside as damaged, or cannot be read, nothing was saved.
void require_complete(const CheckpointStore& store, std::int64_t step) {
  for (const Info& info : store.list()) {
    if (info.step == step && info.complete) return;
  }
  throw CheckpointError("saving " + step_directory_name(step) +
                        ": expected to read back what was written, found it damaged (the log says "
                        "how); check the disk and the system log");
}

}  // namespace

/// The slot goes empty -> job taken by the thread -> result or error -> fetched, which empties it
/// again.
class AsyncWriter::Worker {
 public:
  using Result = std::variant<ShardWritten, Committed>;
  using Job = std::function<Result()>;

  explicit Worker(const CheckpointStore& store) : store_(store), thread_([this] { run(); }) {}

  ~Worker() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
    if (error_) log_lost_error();
  }

  const CheckpointStore& store() const { return store_; }
  internal::StagingBlock& staging() { return staging_; }

  bool idle() const {
    const std::lock_guard lock(mutex_);
    return !busy();
  }

  /// To be called before anything that a running job reads is touched.
  void require_idle() {
    std::unique_lock lock(mutex_);
    throw_error(lock);
    MUSTER_CHECK(!busy())
        << "a save is in flight or its result was not fetched; poll or wait first";
  }

  void start(Job job) {
    {
      const std::lock_guard lock(mutex_);
      job_ = std::move(job);
      running_ = true;
    }
    changed_.notify_all();
  }

  /// Until the job has ended; its result or error is still there to be fetched.
  void wait_until_ended() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !running_; });
  }

  template <typename Wanted>
  std::optional<Wanted> poll() {
    std::unique_lock lock(mutex_);
    throw_error(lock);
    MUSTER_CHECK(busy()) << "nothing was started";
    if (running_) return std::nullopt;
    return take<Wanted>();
  }

  template <typename Wanted>
  Wanted wait() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !running_; });
    throw_error(lock);
    MUSTER_CHECK(busy()) << "nothing was started";
    return take<Wanted>();
  }

 private:
  bool busy() const { return running_ || result_ || error_; }

  void throw_error(std::unique_lock<std::mutex>& lock) {
    if (!error_) return;
    const std::exception_ptr error = std::exchange(error_, nullptr);
    lock.unlock();
    std::rethrow_exception(error);
  }

  template <typename Wanted>
  Wanted take() {
    MUSTER_CHECK(std::holds_alternative<Wanted>(*result_))
        << "the other kind of job was started: shards are fetched by _shard(), commits by "
           "_commit()";
    Wanted wanted = std::get<Wanted>(std::move(*result_));
    result_.reset();
    return wanted;
  }

  void run() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || job_; });
      if (!job_) return;
      const Job job = std::exchange(job_, nullptr);
      lock.unlock();
      std::optional<Result> result;
      std::exception_ptr error;
      try {
        result = job();
      } catch (...) {
        error = std::current_exception();
      }
      lock.lock();
      result_ = std::move(result);
      error_ = error;
      running_ = false;
      changed_.notify_all();
    }
  }

  void log_lost_error() {
    try {
      std::rethrow_exception(error_);
    } catch (const std::exception& error) {
      MUSTER_LOG(ERROR) << "a save failed and no one asked for its result: " << error.what();
    }
  }

  const CheckpointStore store_;
  internal::StagingBlock staging_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  bool stopping_ = false;
  bool running_ = false;
  Job job_;
  std::optional<Result> result_;
  std::exception_ptr error_;
  std::thread thread_;  // last: it uses all of the above
};

AsyncWriter::AsyncWriter(const CheckpointStore& store, std::int64_t most_staging_bytes)
    : most_staging_bytes_(most_staging_bytes), worker_(std::make_unique<Worker>(store)) {}

AsyncWriter::~AsyncWriter() = default;

bool AsyncWriter::idle() const { return worker_->idle(); }

void AsyncWriter::start_shard(std::int64_t step, int generation, int rank, int world_size,
                              std::span<const SourceRange> sources) {
  worker_->require_idle();
  const auto begin = Clock::now();
  const bool staged = internal::StagingBlock::bytes_needed(sources) <= most_staging_bytes_;
  internal::StagingBlock& staging = worker_->staging();
  std::span<const SourceRange> written_from = sources;
  WaitForBytes wait_for_bytes;
  if (staged) {
    staging.reserve(sources);
    written_from = staging.sources();
    wait_for_bytes = [&staging](const std::byte* end) { staging.wait_for_bytes(end); };
  }
  worker_->start(
      [worker = worker_.get(), step, generation, rank, world_size, written_from, wait_for_bytes] {
        const auto write_begin = Clock::now();
        ShardWritten written{.step = step};
        written.record = worker->store().write_shard(step, generation, rank, world_size,
                                                     written_from, wait_for_bytes);
        written.write_time = Clock::now() - write_begin;
        return Worker::Result(std::move(written));
      });
  if (staged) {
    staging.copy(sources);
  } else {
    worker_->wait_until_ended();
  }
  copy_time_ = Clock::now() - begin;
}

std::optional<ShardWritten> AsyncWriter::poll_shard() {
  std::optional<ShardWritten> written = worker_->poll<ShardWritten>();
  if (written) written->copy_time = copy_time_;
  return written;
}

ShardWritten AsyncWriter::wait_shard() {
  ShardWritten written = worker_->wait<ShardWritten>();
  written.copy_time = copy_time_;
  return written;
}

void AsyncWriter::start_commit(std::int64_t step, int generation, std::vector<ShardRecord> records,
                               Json run_state, Retention retention) {
  worker_->require_idle();
  worker_->start([worker = worker_.get(), step, generation, records = std::move(records),
                  run_state = std::move(run_state), retention] {
    const auto begin = Clock::now();
    Committed committed{.step = step};
    committed.path = worker->store().commit(step, generation, records, run_state);
    committed.retired = worker->store().retain(retention);
    require_complete(worker->store(), step);
    committed.commit_time = Clock::now() - begin;
    return Worker::Result(std::move(committed));
  });
}

std::optional<Committed> AsyncWriter::poll_commit() { return worker_->poll<Committed>(); }

Committed AsyncWriter::wait_commit() { return worker_->wait<Committed>(); }

std::int64_t AsyncWriter::staging_bytes() const { return worker_->staging().capacity_bytes(); }

}  // namespace muster::checkpoint
