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
/// leave alone. All functions throw UserError naming the parameter.
class ParameterWatch {
 public:
  /// Both must outlive this.
  ParameterWatch(const std::vector<NamedTensor>& trainable, const std::vector<NamedTensor>& frozen,
                 OwnerWrites allowed);

  /// Refuses a parameter that was frozen or unfrozen, and writes between steps.
  void begin_step();
  /// Refuses writes since begin_step().
  void end_passes() const;

 private:
  void check_unwritten(const char* when) const;
  void remember_versions();

  const std::vector<NamedTensor>& trainable_;
  const std::vector<NamedTensor>& frozen_;
  const OwnerWrites allowed_;
  std::vector<std::uint32_t> versions_;  // of trainable ones
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_WATCH_H_
