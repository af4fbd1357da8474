// Where the trainable parameters live: whole on every rank, or in shards.
#ifndef MUSTER_TRAINER_SRC_PARAMETER_STORE_H_
#define MUSTER_TRAINER_SRC_PARAMETER_STORE_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

/// Elements [begin, begin + flat.numel()) of a flattened tensor.
struct HeldRange {
  std::int64_t begin = 0;
  at::Tensor flat;
};

/// What a rank's shard `flat` holds of parameter `parameter`; perhaps nothing.
HeldRange held_of_shard(const FlatLayout& layout, const ShardLayout& shard, std::size_t parameter,
                        const at::Tensor& flat);

/// The module's parameters are views of its memory. Each rank updates its pieces and makes them
/// known to the others.
class ParameterStore {
 public:
  virtual ~ParameterStore() = default;

  /// Passes forward and backward begin, that probably read parameters in the same order as the ones
  /// before.
  virtual void begin_pass() {}
  /// Collective. Until finish_update() nobody reads a parameter.
  virtual void begin_update() = 0;
  /// This rank's piece of a bucket, flat.
  virtual at::Tensor piece(std::size_t bucket);
  /// Elements of this rank's piece of a bucket have been updated, and are in a cache still.
  virtual void updated(FlatRange) {}
  /// Collective. The whole piece has been.
  virtual void publish(std::size_t) {}
  /// Collective. From here on every rank reads what all have published.
  virtual void finish_update() = 0;

  /// What this rank holds, for checkpoints. Writing into it, on every rank, changes the parameter.
  virtual HeldRange held(std::size_t parameter) = 0;
  /// Whether every rank holds all.
  virtual bool replicated() const = 0;

  /// From here to as many release_all() all parameters are in this process's memory, whoever reads
  /// them.
  virtual void hold_all() {}
  virtual void release_all() {}

 protected:
  /// `layout`, `shard` and `communicator` must outlive this.
  ParameterStore(const FlatLayout& layout, const ShardLayout& shard, Communicator& communicator,
                 at::Tensor values);

  /// A parameter's part of `values_`, flat.
  at::Tensor values_of(std::size_t parameter) const;

  const FlatLayout& layout_;
  const ShardLayout& shard_;
  Communicator& communicator_;
  // [layout.numel], or [shard.numel] where gathered; padding is zero. float32, but where parameters
  // are rounded copies.
  at::Tensor values_;
};

/// ZeRO stages 0 to 2: every rank has all parameters.
class ReplicatedParameters : public ParameterStore {
 public:
  /// Collective. Moves the parameters' values, in place: each tensor object stays, its storage is
  /// ours. All ranks get rank 0's.
  ReplicatedParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                       const ShardLayout& shard, Communicator& communicator);

  void begin_update() override {}
  void publish(std::size_t bucket) override;
  void finish_update() override;
  HeldRange held(std::size_t parameter) override;
  bool replicated() const override { return true; }

 private:
  std::vector<Work> published_;
};

/// ZeRO stages 1 and 2 where all ranks share memory: whoever updates an element writes it into
/// every rank's parameters at once, so that nothing is sent.
class MirroredParameters : public ParameterStore {
 public:
  /// As ReplicatedParameters.
  MirroredParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                     const ShardLayout& shard, Communicator& communicator);

  void begin_update() override;
  void updated(FlatRange range) override;
  void finish_update() override;
  HeldRange held(std::size_t parameter) override;
  bool replicated() const override { return true; }

 private:
  MirroredParameters(const FlatLayout& layout, const ShardLayout& shard, Communicator& communicator,
                     at::Tensor all);

  at::Tensor all_;  // [world_size, layout.numel and room up to a page]; values_ is in a row of it
};

/// ZeRO stage 3 where all ranks share memory: they have one copy together, so that nothing is
/// gathered, and a rank's part of it is what it owns.
class SharedParameters : public ParameterStore {
 public:
  /// As ReplicatedParameters.
  SharedParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                   const ShardLayout& shard, Communicator& communicator);

  void begin_update() override;
  void finish_update() override;
  HeldRange held(std::size_t parameter) override;
  bool replicated() const override { return false; }
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_STORE_H_
