// A rank's weights, and what a step does to them once gradients are summed: norm, clipping, the
// optimizer's update, the average of weights, and their way to the other ranks.
#ifndef MUSTER_TRAINER_SRC_WEIGHT_UPDATE_H_
#define MUSTER_TRAINER_SRC_WEIGHT_UPDATE_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "engine_layout.h"
#include "flat_layout.h"
#include "flat_optimizer.h"
#include "gradient_buffers.h"
#include "gradient_norm.h"
#include "master_weights.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/trainer/engine_options.h"
#include "parameter_store.h"
#include "piece_device.h"
#include "state_list.h"
#include "weight_average.h"

namespace muster::internal {

/// Between whom, and where.
struct UpdatePlaces {
  Communicator& host;     ///< Of host memory.
  Communicator& tensors;  ///< Of the memory that the module is in; perhaps the same.
  const PieceDevice& pieces;
};

class WeightUpdate {
 public:
  /// Collective. Moves the values of `trainable` into memory of that form, rounded with kBFloat16.
  /// All must outlive this.
  WeightUpdate(const EngineOptions& options, std::vector<NamedTensor>& trainable,
               const FlatLayout& layout, const ShardLayout& shard, ParameterForm form,
               const UpdatePlaces& places);

  ParameterStore& parameters() { return *parameters_; }
  bool has_average() const { return average_.has_value(); }

  /// Collective. Update `step` (counts from 1) by the summed gradients over `divisor`. Returns the
  /// norm of the mean gradient, before clipping. Where that is not finite no update is made.
  double update(GradientBuffers& gradients, double divisor, double learning_rate,
                std::int64_t step);
  /// Collective. After writing into what add_weights() gave.
  void changed();
  /// Collective. Exchanges the weights and their average. Requires has_average().
  void swap_average();

  void add_weights(StateList& list) const;
  void add_optimizer(StateList& list) const;

 private:
  std::unique_ptr<ParameterStore> make_store(ParameterForm form);
  template <typename Store, typename... More>
  std::unique_ptr<ParameterStore> make_store_of(Communicator& communicator, More... more);
  std::optional<MasterWeights> make_masters(std::vector<NamedTensor>& trainable);

  /// What the optimizer updates: this rank's piece of bucket `bucket`, in float32, on the device
  /// of the pieces.
  float* weights(std::size_t bucket);
  PieceMemory memory(GradientBuffers& gradients, std::size_t bucket);
  void clip(GradientBuffers& gradients, double divisor, UpdateNumbers& numbers);
  void update_bucket(GradientBuffers& gradients, std::size_t bucket, const UpdateNumbers& numbers);
  /// The weights in `range`, of this rank's piece, have been updated.
  void updated(std::size_t bucket, FlatRange range);
  /// Collective. Those of the whole piece have been, by other means.
  void publish(std::size_t bucket);

  const EngineOptions& options_;
  const std::vector<NamedTensor>& trainable_;
  const FlatLayout& layout_;
  const ShardLayout& shard_;
  const UpdatePlaces places_;
  FlatOptimizer optimizer_;
  std::optional<MasterWeights> masters_;
  std::optional<WeightAverage> average_;
  std::unique_ptr<ParameterStore> parameters_;
  GradientNorm norm_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_WEIGHT_UPDATE_H_
