// The settings of each parameter, from options and groups.
#ifndef MUSTER_TRAINER_SRC_RULE_PARAMETERS_H_
#define MUSTER_TRAINER_SRC_RULE_PARAMETERS_H_

#include <vector>

#include "flat_layout.h"
#include "module_tensors.h"
#include "muster/trainer/engine_options.h"
#include "update_rule.h"

namespace muster::internal {

/// Throws ConfigError for a group that no parameter belongs to.
std::vector<RuleParameter> make_rule_parameters(const EngineOptions& options,
                                                const std::vector<NamedTensor>& parameters,
                                                const FlatLayout& layout);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_RULE_PARAMETERS_H_
