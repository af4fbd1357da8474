// Delivers a rank's micro-batches in the job's order, prepared ahead by a background thread.
#ifndef MUSTER_DATA_LOADER_DATA_LOADER_H_
#define MUSTER_DATA_LOADER_DATA_LOADER_H_

#include <chrono>
#include <cstdint>
#include <memory>

#include "muster/data_loader/batch.h"
#include "muster/data_loader/batch_plan.h"
#include "muster/data_loader/dataset.h"

namespace muster {

namespace internal {
class LoaderPipeline;
}

struct LoaderOptions {
  int logical_ranks = 1;
  int first_logical_rank = 0, end_logical_rank = 1;  ///< This rank hosts [first, end).
  std::int64_t accumulation_steps = 1, micro_batch = 32;
  std::uint64_t seed = 0;
  bool shuffle = true, drop_last = false;
  int prefetch_batches = 4;  ///< Micro-batches prepared ahead, the one in preparation included.
  /// How long next() waits for one micro-batch.
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
};

/// All there is to save. The same numbers on every rank, and valid for any world size.
struct LoaderState {
  std::int64_t epoch = 0;
  std::int64_t position = 0;  ///< Samples of the epoch's order that finished steps have taken.
  friend bool operator==(const LoaderState&, const LoaderState&) = default;
};

struct MicroBatch {
  std::int64_t epoch = 0;
  std::int64_t position = 0;  ///< Of its first sample, in the epoch's order.
  int logical_rank = 0;
  std::int64_t micro_step = 0;
  std::int64_t step_position = 0;  ///< Where its step begins.
  /// In the whole step, over all logical ranks: the mean's denominator.
  std::int64_t step_samples = 0;
  /// At a ragged end batch.size() may be 0; then it has no tensors either.
  Batch batch;
};

/// The order: steps; in a step logical ranks first .. end-1; in a logical rank micro-steps 0 ..
/// accumulation_steps-1; epoch after epoch without end. Every rank makes the same number of calls a
/// step at any world size. All calls from one thread. The loader's own thread blocks all signals.
class DataLoader {
 public:
  /// Starts preparing at once. Throws ConfigError with everything that is wrong with the options.
  /// Do not fork() while a loader exists: a child has no thread to prepare its batches.
  DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options);
  /// Waits for the one Dataset::get() that may be running.
  ~DataLoader();
  DataLoader(const DataLoader&) = delete;
  DataLoader& operator=(const DataLoader&) = delete;

  /// The next micro-batch; blocks until it is prepared. An error of Dataset::get() surfaces here,
  /// at the micro-batch that it belongs to and at every call after it until restore(): as the same
  /// kind of Muster error, or as UserError, with the epoch, position and sample ids in its message.
  /// Throws Timeout after `LoaderOptions::timeout`.
  MicroBatch next();

  /// Where the first step begins that next() has not delivered to its last micro-batch. After the
  /// last step of an epoch that is position 0 of the next.
  LoaderState state() const;

  /// Continues at `state`, in constant time. Any position will do, whatever batch sizes led to it.
  /// Throws ConfigError, and changes nothing, when the state is not one of this dataset.
  void restore(LoaderState state);

  std::int64_t steps_per_epoch() const;
  /// Samples of a full step, over all logical ranks.
  std::int64_t global_batch() const;
  const BatchPlan& plan() const;

 private:
  std::unique_ptr<internal::LoaderPipeline> pipeline_;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_DATA_LOADER_H_
