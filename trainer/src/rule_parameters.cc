// Parameter groups, matched.
#include "rule_parameters.h"

#include "muster/base/error.h"

namespace muster::internal {
namespace {

std::string some_names(const std::vector<NamedTensor>& parameters) {
  std::string names;
  for (std::size_t i = 0; i < parameters.size() && i < 8; ++i)
    names += (i == 0 ? "" : ", ") + parameters[i].name;
  return names + (parameters.size() > 8 ? ", ..." : "");
}

}  // namespace

std::vector<RuleParameter> make_rule_parameters(const EngineOptions& options,
                                                const std::vector<NamedTensor>& parameters,
                                                const FlatLayout& layout) {
  const std::vector<ParameterGroup>& groups = options.optimizer.groups;
  std::vector<bool> matched(groups.size());
  std::vector<RuleParameter> result;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const auto& [name, tensor] = parameters[i];
    const bool decays = options.decays ? options.decays(name, tensor) : tensor.dim() >= 2;
    RuleParameter p{layout.parameters[i], tensor.sizes().vec(), 1.0,
                    decays ? options.optimizer.weight_decay : 0.0};
    for (std::size_t g = groups.size(); g-- > 0;) {
      if (!matches_pattern(groups[g].pattern, name)) continue;
      matched[g] = true;
      p.learning_rate_factor = groups[g].learning_rate_factor;
      p.weight_decay = groups[g].weight_decay.value_or(decays ? options.optimizer.weight_decay : 0);
    }
    result.push_back(std::move(p));
  }
  for (std::size_t g = 0; g < groups.size(); ++g) {
    if (matched[g]) continue;
    throw ConfigError("parameter group '" + groups[g].pattern +
                      "': expected a pattern that some parameter matches, found none among " +
                      some_names(parameters) + "; correct the pattern");
  }
  return result;
}

}  // namespace muster::internal
