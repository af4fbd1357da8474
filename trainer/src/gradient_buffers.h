// The gradients of a rank: filled by sinks, folded by the accumulation plan, reduced bucket by
// bucket while the last backward pass still runs.
#ifndef MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_
#define MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <vector>

#include "accumulation_plan.h"
#include "bucket_ring.h"
#include "flat_layout.h"
#include "gradient_sink.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"
#include "muster/trainer/engine_options.h"
#include "piece_device.h"

namespace muster::internal {

/// What decides how gradients are held and summed; the same on every rank but for `run`.
struct GradientSetup {
  int zero_stage = 0;
  int logical_ranks = 1;
  LogicalRange run;  ///< This rank's logical ranks.
  std::int64_t accumulation_steps = 1;
  Reduction reduction = Reduction::kExact;
  /// Where reduced pieces go when that is not where gradients are made; nullptr: they stay.
  const PieceDevice* offload_to = nullptr;
};

/// Elements that GradientBuffers holds on a rank of that shard between two steps.
std::int64_t held_gradient_numel(const FlatLayout& layout, const ShardLayout& shard,
                                 const GradientSetup& setup, int world_size);

/// Stages 0 and 1 hold whole gradients. From stage 2 on, where every rank has one micro-step, a
/// bucket's memory is used again as soon as it has been reduced, and only the rank's pieces stay; a
/// rank with several must keep whole partial sums until its last, as the tree demands.
class GradientBuffers : public GradientReceiver {
 public:
  /// Collective: memory is symmetric, and as much on every rank. `communicator` is for the device
  /// that the parameters are on. The references must outlive this.
  GradientBuffers(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                  const ShardLayout& shard, Communicator& communicator, const GradientSetup& setup);

  /// Forgets a step, once the sums that are under way have ended.
  void reset();
  /// Issues what is missing of the step's sums, with no number in it: where a step is given up,
  /// that of other ranks must end, and not be finished.
  void issue_missing();
  /// Gradients from here on belong to the plan's next leaf.
  void begin_leaf();
  /// A backward pass begins. In the rank's last one each bucket's reduction is issued as soon as
  /// the bucket is complete. Gradients are multiplied by `factor` as they arrive.
  void begin_backward(bool last, double factor);
  /// From here on a gradient is a UserError: it is of no micro-batch.
  void end_backward() { in_backward_ = false; }
  /// The leaf is complete: parameters without a gradient count as zero; it is added to its
  /// siblings. After the last leaf all reductions have been issued.
  void end_leaf();

  /// Blocks until bucket `bucket` has been reduced. This rank's piece of the sum over all logical
  /// ranks, offloaded where it is to be; valid until the next begin_leaf(). The caller may change
  /// it.
  float* reduced(std::size_t bucket);
  /// The order in which buckets are reduced: that in which backward passes complete them.
  const std::vector<std::size_t>& order() const { return order_; }

  void receive(std::size_t index, const at::Tensor& gradient) override;

 private:
  const LeafPlan& leaf() const { return plan_.leaves[next_leaf_]; }
  bool in_last_leaf() const { return next_leaf_ + 1 == plan_.leaves.size(); }
  /// Whether the leaf goes straight into its siblings' sum.
  bool is_direct() const { return plan_.direct && leaf().siblings > 0; }
  /// The memory of a bucket in a slot.
  at::Tensor bucket_in(int slot, std::size_t bucket);
  /// That of a parameter, with its shape.
  at::Tensor view(int slot, std::size_t parameter);
  /// Adds a part of the leaf, in place, in a bucket or a parameter, to the same part of its
  /// siblings.
  void add_to_siblings(std::size_t bucket, const FlatRange& range, const at::Tensor& part);
  void settle(std::size_t bucket);
  void issue_settled();
  Work issue(std::size_t bucket);
  /// This rank's piece, where it was reduced.
  at::Tensor reduced_piece(std::size_t bucket);

  const std::vector<NamedTensor>& parameters_;
  const FlatLayout& layout_;
  const ShardLayout& shard_;
  Communicator& communicator_;
  ReductionTree tree_;
  Reduction reduction_;
  AccumulationPlan plan_;
  std::vector<std::size_t> order_;
  std::vector<at::Tensor> slots_;  // [slot] flat; none where buckets come from the ring
  std::optional<BucketRing> ring_;
  at::Tensor pieces_;     // the reduced gradient in the shard's layout, with the ring only
  at::Tensor offloaded_;  // the same, where it goes elsewhere

  std::size_t next_leaf_ = 0;
  bool in_leaf_ = false;
  bool in_backward_ = false;
  bool last_backward_ = false;
  double factor_ = 1;                       // of the pass
  std::vector<bool> touched_;               // [parameter] by the present leaf
  std::vector<bool> reached_;               // [parameter] by the present pass
  std::vector<std::size_t> outstanding_;    // [bucket] parameters the last backward has not reached
  std::vector<bool> settled_;               // [bucket] of the present leaf
  std::size_t issued_ = 0;                  // of order_
  std::vector<std::optional<Work>> works_;  // [bucket]
  std::vector<bool> has_moved_;             // [bucket] to offloaded_
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GRADIENT_BUFFERS_H_
