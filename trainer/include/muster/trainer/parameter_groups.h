// Settings for some parameters, chosen by their names.
#ifndef MUSTER_TRAINER_PARAMETER_GROUPS_H_
#define MUSTER_TRAINER_PARAMETER_GROUPS_H_

#include <optional>
#include <string>
#include <vector>

namespace muster {

/// Parameters whose name matches `pattern`, in which * stands for any text and ? for one character
/// ("embedding.*", "*.bias"). Where several groups match, the first counts.
struct ParameterGroup {
  std::string pattern;
  double learning_rate_factor = 1.0;
  /// Without a value: OptimizerOptions::weight_decay, on what EngineOptions::decays says.
  std::optional<double> weight_decay = std::nullopt;
  friend bool operator==(const ParameterGroup&, const ParameterGroup&) = default;
};

/// Reads "embedding.*:learning-rate-factor=0.1,weight-decay=0; *.bias:learning-rate-factor=2".
/// Throws ConfigError that begins with "--parameter-groups".
std::vector<ParameterGroup> parse_parameter_groups(const std::string& text);

/// Whether `name` matches `pattern`, in which * and ? stand for text and a character.
bool matches_pattern(const std::string& pattern, const std::string& name);

/// Patterns between commas; none in an empty text.
std::vector<std::string> split_patterns(const std::string& text);

}  // namespace muster

#endif  // MUSTER_TRAINER_PARAMETER_GROUPS_H_
