// Walks through a rank's micro-batches in the job's order: pure, a few integers.
#ifndef MUSTER_DATA_LOADER_SRC_MICRO_BATCH_CURSOR_H_
#define MUSTER_DATA_LOADER_SRC_MICRO_BATCH_CURSOR_H_

#include <cstdint>

#include "muster/data_loader/batch_plan.h"
#include "muster/data_loader/data_loader.h"

namespace muster::internal {

/// Stands on one micro-batch. A value.
class MicroBatchCursor {
 public:
  /// Stands on the first micro-batch of the step that begins at `state`, or of the next epoch when
  /// no step can begin there. Needs a plan that has a step at position 0.
  MicroBatchCursor(const BatchPlan& plan, int first_logical_rank, int end_logical_rank,
                   LoaderState state);

  /// The step that the cursor stands in.
  LoaderState state() const { return state_; }
  PositionRange positions() const;
  /// What the loader says about the micro-batch; `batch` is empty.
  MicroBatch describe() const;
  void advance();

 private:
  void roll_over();

  BatchPlan plan_;
  int first_logical_rank_;
  int end_logical_rank_;
  LoaderState state_;
  int logical_rank_;
  std::int64_t micro_step_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_DATA_LOADER_SRC_MICRO_BATCH_CURSOR_H_
