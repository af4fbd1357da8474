// One table, read both ways.
#include "tensor_dtype.h"

#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::pair<DType, c10::ScalarType> kDtypes[] = {
    {DType::kFloat32, c10::ScalarType::Float}, {DType::kFloat64, c10::ScalarType::Double},
    {DType::kFloat16, c10::ScalarType::Half},  {DType::kBFloat16, c10::ScalarType::BFloat16},
    {DType::kInt8, c10::ScalarType::Char},     {DType::kInt16, c10::ScalarType::Short},
    {DType::kInt32, c10::ScalarType::Int},     {DType::kInt64, c10::ScalarType::Long},
    {DType::kUInt8, c10::ScalarType::Byte},    {DType::kBool, c10::ScalarType::Bool}};

}  // namespace

DType to_dtype(const std::string& name, c10::ScalarType type) {
  for (const auto& [dtype, scalar_type] : kDtypes) {
    if (scalar_type == type) return dtype;
  }
  throw ConfigError("tensor '" + name + "': expected a dtype that checkpoints can hold, found " +
                    std::string(c10::toString(type)) + "; register it as another dtype");
}

c10::ScalarType to_scalar_type(DType dtype) {
  for (const auto& [known, scalar_type] : kDtypes) {
    if (known == dtype) return scalar_type;
  }
  throw InternalError("dtype " + std::to_string(static_cast<int>(dtype)) + " has no tensors");
}

}  // namespace muster::internal
