// The flat gradient slots of a rank: filled by sinks, folded by the accumulation plan, reduced
// bucket by bucket.
#ifndef MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_
#define MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_

#include <ATen/core/Tensor.h>

#include <vector>

#include "accumulation_plan.h"
#include "flat_layout.h"
#include "gradient_sink.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

class GradientBuffers : public GradientReceiver {
 public:
  /// Collective: the slots are symmetric memory, as many on every rank.
  GradientBuffers(const std::vector<at::Tensor>& parameters, const FlatLayout& layout,
                  std::vector<FlatRange> buckets, Communicator& communicator, int logical_ranks,
                  LogicalRange run, bool direct);

  /// Gradients from here on belong to the plan's next leaf.
  void begin_leaf();
  /// The leaf is complete: parameters without a gradient count as zero; siblings are merged.
  void end_leaf();
  /// After the last leaf. Collective. Issues the reduction of every bucket; once all are waited
  /// for, reduced() is valid.
  std::vector<Work> reduce(Communicator& communicator, const ReductionTree& tree);
  /// The sum over all logical ranks. Flat, float32. Valid until the next begin_leaf().
  const at::Tensor& reduced() const { return slots_.front(); }
  /// Forget a step that was not finished.
  void reset();

  void receive(std::size_t index, const at::Tensor& gradient) override;

 private:
  AccumulationPlan plan_;
  std::vector<FlatRange> buckets_;
  std::vector<at::Tensor> slots_;               // [slot] flat
  std::vector<std::vector<at::Tensor>> views_;  // [slot][parameter], in the parameter's shape
  std::size_t next_leaf_ = 0;
  std::vector<bool> touched_;  // by the present leaf
  bool in_leaf_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_
