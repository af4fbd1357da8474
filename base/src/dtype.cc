// Sizes and names of element types.
#include "muster/base/dtype.h"

#include <array>
#include <string>

#include "muster/base/error.h"

namespace muster {
namespace {

struct DTypeRow {
  DType dtype;
  std::int64_t bytes;
  std::string_view name;
};

constexpr std::array<DTypeRow, 10> kRows = {{
    {DType::kFloat32, 4, "float32"},
    {DType::kFloat64, 8, "float64"},
    {DType::kFloat16, 2, "float16"},
    {DType::kBFloat16, 2, "bfloat16"},
    {DType::kInt8, 1, "int8"},
    {DType::kInt16, 2, "int16"},
    {DType::kInt32, 4, "int32"},
    {DType::kInt64, 8, "int64"},
    {DType::kUInt8, 1, "uint8"},
    {DType::kBool, 1, "bool"},
}};

const DTypeRow& row_of(DType dtype) {
  for (const DTypeRow& row : kRows) {
    if (row.dtype == dtype) return row;
  }
  throw InternalError("expected a dtype number of 1 to 10, found " +
                      std::to_string(static_cast<int>(dtype)));
}

}  // namespace

std::int64_t dtype_bytes(DType dtype) { return row_of(dtype).bytes; }

std::string_view dtype_name(DType dtype) { return row_of(dtype).name; }

DType dtype_from_name(std::string_view name) {
  std::string known;
  for (const DTypeRow& row : kRows) {
    if (row.name == name) return row.dtype;
    known += (known.empty() ? "" : ", ") + std::string(row.name);
  }
  throw DataError("expected a dtype (" + known + "), found '" + std::string(name) + "'");
}

}  // namespace muster
