// Element types as they are named in files and messages. The numbers are written to disk and never
// change.
#ifndef MUSTER_BASE_DTYPE_H_
#define MUSTER_BASE_DTYPE_H_

#include <cstdint>
#include <string_view>

namespace muster {

enum class DType : std::uint8_t {
  kFloat32 = 1,
  kFloat64 = 2,
  kFloat16 = 3,
  kBFloat16 = 4,
  kInt8 = 5,
  kInt16 = 6,
  kInt32 = 7,
  kInt64 = 8,
  kUInt8 = 9,
  kBool = 10,
};

/// Bytes of one element.
std::int64_t dtype_bytes(DType dtype);
/// "float32", "bfloat16", "int64", ...
std::string_view dtype_name(DType dtype);
/// The inverse of dtype_name. Throws DataError when `name` is none.
DType dtype_from_name(std::string_view name);

}  // namespace muster

#endif  // MUSTER_BASE_DTYPE_H_
