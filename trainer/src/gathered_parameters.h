// ZeRO stage 3 where ranks do not share the memory that the module is in: each has its shard, and
// takes whole units from the others' while something reads them.
#ifndef MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <deque>
#include <map>
#include <vector>

#include "parameter_access.h"
#include "unit_residency.h"
#include "windowed_parameters.h"

namespace muster::internal {

/// Parameters have memory only while their unit is held. An operation on a parameter is heard of
/// before it runs (WatchedMemory), and then takes the unit's pieces out of the ranks' windows.
/// Nobody has to take part: so ranks may use different parameters, in any order, as often as they
/// like, alone as well. The next units of the pass before are fetched meanwhile. Windows are in
/// host memory; units for a GPU go there when they are complete, in the current stream's order.
class GatheredParameters : public WindowedParameters, private AccessListener {
 public:
  /// As ReplicatedParameters, but `host` is for host memory wherever the parameters are. `prefetch`
  /// units are fetched ahead.
  GatheredParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                     const ShardLayout& shard, Communicator& host, std::size_t prefetch);
  ~GatheredParameters() override;

  void begin_pass() override;
  void begin_update() override;
  void finish_update() override;
  HeldRange held(std::size_t parameter) override;
  void hold_all() override;
  void release_all() override;

 private:
  /// A unit on its way, in host memory.
  struct Fetch {
    at::Tensor values;
    std::vector<Work> reads;
    void wait();
  };

  void before(const Access& access) override;
  [[noreturn]] void refuse_write(const Access& access) const;
  void hold(const std::vector<std::size_t>& units);
  void hold_all_units();
  void fetch(std::size_t unit);
  void wait_for(std::size_t unit);
  void drop(std::size_t unit);
  void drop_all();

  const std::vector<NamedTensor>& parameters_;
  const at::TensorOptions options_;  // of the parameters
  UnitResidency residency_;
  std::map<std::size_t, Fetch> fetches_;  // by unit
  std::deque<WatchedMemory> units_;
  int holds_ = 0;  // of all units
  bool updating_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_
