// ZeRO stage 3 where ranks do not share memory: each has its shard, and takes whole units from the
// others' while something reads them.
#ifndef MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <map>
#include <memory>
#include <vector>

#include "parameter_access.h"
#include "unit_memory.h"
#include "unit_residency.h"
#include "windowed_parameters.h"

namespace muster::internal {

/// Each parameter has an address for good, behind which there is memory only while its unit is
/// held. An operation on a parameter is heard of before it runs (WatchedMemory), and then takes the
/// unit's pieces out of the ranks' windows. Nobody has to take part: so ranks may use different
/// parameters, in any order, as often as they like, alone as well. The next units of the pass
/// before are fetched meanwhile.
class GatheredParameters : public WindowedParameters, private AccessListener {
 public:
  /// As ReplicatedParameters. `prefetch` units are fetched ahead.
  GatheredParameters(const std::vector<NamedTensor>& parameters, const FlatLayout& layout,
                     const ShardLayout& shard, Communicator& communicator, std::size_t prefetch);
  ~GatheredParameters() override;

  void begin_pass() override;
  void begin_update() override;
  void finish_update() override;
  HeldRange held(std::size_t parameter) override;
  void hold_all() override;
  void release_all() override;

 private:
  void before(const Access& access) override;
  std::vector<std::size_t> units_of(const Access& access) const;
  [[noreturn]] void refuse_write(const Access& access) const;
  void hold_all_units();
  void change(const ResidencyChange& change);
  void fetch(std::size_t unit);
  void wait_for(std::size_t unit);
  void drop(std::size_t unit);
  void drop_all();

  const std::vector<NamedTensor>& parameters_;
  std::shared_ptr<UnitMemory> memory_;
  at::Tensor whole_;  // of it, not watched
  UnitResidency residency_;
  std::map<std::size_t, std::vector<Work>> reads_;  // under way, by unit
  int holds_ = 0;                                   // of all units
  bool updating_ = false;
  WatchedMemory watched_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GATHERED_PARAMETERS_H_
