// What the owner of a module may not do to its parameters once an engine trains them, since it
// would be lost, or done once a rank.
#ifndef MUSTER_TRAINER_SRC_PARAMETER_WATCH_H_
#define MUSTER_TRAINER_SRC_PARAMETER_WATCH_H_

#include <cstdint>
#include <vector>

#include "module_tensors.h"

namespace muster::internal {

/// When somebody else than the optimizer may write into trainable parameters.
enum class OwnerWrites {
  kBetweenSteps,  ///< Where each rank has its own, and they are what the optimizer updates.
  kNever,         ///< Where ranks share them, or they are copies of what is updated.
  kHeardElsewhere
};

/// Sees writes by the versions that LibTorch counts of a tensor, which the engine's own writes
/// leave alone, and other values in a parameter's place by the storage they are in. All functions
/// throw UserError naming the parameter.
class ParameterWatch {
 public:
  /// Both must outlive this. Trainable parameters are where the engine has put them.
  ParameterWatch(const std::vector<NamedTensor>& trainable, const std::vector<NamedTensor>& frozen,
                 OwnerWrites allowed);

  /// Refuses a parameter that was frozen, unfrozen or given other values, and writes between steps.
  void begin_step();
  /// Refuses other values, and writes since begin_step().
  void end_passes() const;

 private:
  /// Where a parameter's values are. The engine keeps the storage.
  struct Place {
    const c10::StorageImpl* storage;
    std::int64_t begin;
    bool operator==(const Place&) const = default;
  };

  static Place place_of(const NamedTensor& parameter);
  void check_in_place() const;
  void check_unwritten(const char* when) const;
  void remember_versions();

  const std::vector<NamedTensor>& trainable_;
  const std::vector<NamedTensor>& frozen_;
  const OwnerWrites allowed_;
  std::vector<Place> places_;            // of trainable ones
  std::vector<std::uint32_t> versions_;  // the same
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_WATCH_H_
