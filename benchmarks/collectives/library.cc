// Names and the refusal.
#include "library.h"

#include <map>

#include "muster/base/error.h"

namespace muster::bench {

std::string CaseName::description() const {
  std::string text = operation;
  if (!reduction.empty()) text += " " + reduction;
  return text + " " + dtype + ", " + memory + " memory, " + place + (place == "in" ? "" : " of") +
         " place";
}

at::ScalarType scalar_type_of(const std::string& dtype) {
  static const std::map<std::string, at::ScalarType> types = {
      {"float32", at::kFloat},     {"float64", at::kDouble}, {"float16", at::kHalf},
      {"bfloat16", at::kBFloat16}, {"int8", at::kChar},      {"uint8", at::kByte},
      {"int16", at::kShort},       {"int32", at::kInt},      {"int64", at::kLong},
  };
  const auto found = types.find(dtype);
  if (found != types.end()) return found->second;
  std::string names;
  for (const auto& [name, type] : types) names += (names.empty() ? "" : ", ") + name;
  throw ConfigError("--dtypes: expected names from " + names + ", found '" + dtype +
                    "'; correct the list");
}

void not_offered(const Library& library, const CaseName& name, const std::string& advice) {
  throw ConfigError(library.name() + ": expected a call that it has, found " + name.description() +
                    "; " + advice);
}

}  // namespace muster::bench
