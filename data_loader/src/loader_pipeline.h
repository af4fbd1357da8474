// The thread that prepares micro-batches and the bounded queue between it and the training loop.
#ifndef MUSTER_DATA_LOADER_SRC_LOADER_PIPELINE_H_
#define MUSTER_DATA_LOADER_SRC_LOADER_PIPELINE_H_

#include <condition_variable>
#include <cstdint>
#include <deque>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "micro_batch_cursor.h"
#include "muster/data_loader/data_loader.h"
#include "muster/data_loader/sampler.h"

namespace muster::internal {

/// One producer (its own thread), one consumer (the thread that calls next(), state(), restart()).
/// Two cursors over the same order: `prepared_` is the producer's, `delivered_` the consumer's. At
/// most `prefetch_batches` micro-batches lie between them, and an error stands where it happened.
class LoaderPipeline {
 public:
  /// The options and the plan have been validated.
  LoaderPipeline(std::shared_ptr<const Dataset> dataset, const LoaderOptions& options,
                 const BatchPlan& plan);
  ~LoaderPipeline();
  LoaderPipeline(const LoaderPipeline&) = delete;
  LoaderPipeline& operator=(const LoaderPipeline&) = delete;

  MicroBatch next();
  LoaderState state() const { return delivered_.state(); }
  /// Forgets what is prepared and continues at `state`; what is in preparation is dropped later.
  void restart(LoaderState state);
  const BatchPlan& plan() const { return plan_; }

 private:
  void produce();
  MicroBatch prepare(const MicroBatchCursor& cursor) const;
  std::vector<std::int64_t> sample_ids(const MicroBatchCursor& cursor) const;
  bool has_room() const;
  [[noreturn]] void throw_timeout() const;

  const std::shared_ptr<const Dataset> dataset_;
  const LoaderOptions options_;
  const BatchPlan plan_;
  const Sampler sampler_;
  MicroBatchCursor delivered_;  // the consumer's alone

  std::mutex mutex_;
  std::condition_variable room_;   // the producer waits: there is room, or it must stop
  std::condition_variable ready_;  // the consumer waits: a micro-batch or an error is there
  // Guarded by mutex_:
  std::deque<MicroBatch> queue_;
  MicroBatchCursor prepared_;
  std::exception_ptr error_;    // of the micro-batch after those in queue_
  std::uint64_t restarts_ = 0;  // tells the producer that what it prepares is no longer wanted
  bool stopping_ = false;

  std::thread thread_;  // last: it uses all of the above
};

}  // namespace muster::internal

#endif  // MUSTER_DATA_LOADER_SRC_LOADER_PIPELINE_H_
