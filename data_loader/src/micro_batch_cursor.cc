// The order: steps, logical ranks, micro-steps.
#include "micro_batch_cursor.h"

namespace muster::internal {

MicroBatchCursor::MicroBatchCursor(const BatchPlan& plan, int first_logical_rank,
                                   int end_logical_rank, LoaderState state)
    : plan_(plan),
      first_logical_rank_(first_logical_rank),
      end_logical_rank_(end_logical_rank),
      state_(state),
      logical_rank_(first_logical_rank) {
  roll_over();
}

PositionRange MicroBatchCursor::positions() const {
  return plan_.micro_batch_of(state_.position, logical_rank_, micro_step_);
}

MicroBatch MicroBatchCursor::describe() const {
  MicroBatch micro_batch;
  micro_batch.epoch = state_.epoch;
  micro_batch.position = positions().begin;
  micro_batch.logical_rank = logical_rank_;
  micro_batch.micro_step = micro_step_;
  micro_batch.step_position = state_.position;
  micro_batch.step_samples = plan_.step(state_.position).size();
  return micro_batch;
}

void MicroBatchCursor::advance() {
  if (++micro_step_ < plan_.accumulation_steps) return;
  micro_step_ = 0;
  if (++logical_rank_ < end_logical_rank_) return;
  logical_rank_ = first_logical_rank_;
  state_.position = plan_.step(state_.position).end;
  roll_over();
}

void MicroBatchCursor::roll_over() {
  if (!plan_.has_step(state_.position)) state_ = {state_.epoch + 1, 0};
}

}  // namespace muster::internal
