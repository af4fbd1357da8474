// The dtype numbers, sizes and names that stand in files.
#include "muster/base/dtype.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster {
namespace {

TEST(DType, NumbersSizesAndNamesAreFrozen) {
  struct Row {
    DType dtype;
    int number;
    int bytes;
    const char* name;
  };
  const std::vector<Row> rows = {
      {DType::kFloat32, 1, 4, "float32"}, {DType::kFloat64, 2, 8, "float64"},
      {DType::kFloat16, 3, 2, "float16"}, {DType::kBFloat16, 4, 2, "bfloat16"},
      {DType::kInt8, 5, 1, "int8"},       {DType::kInt16, 6, 2, "int16"},
      {DType::kInt32, 7, 4, "int32"},     {DType::kInt64, 8, 8, "int64"},
      {DType::kUInt8, 9, 1, "uint8"},     {DType::kBool, 10, 1, "bool"},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(static_cast<int>(row.dtype), row.number) << row.name;
    EXPECT_EQ(dtype_bytes(row.dtype), row.bytes) << row.name;
    EXPECT_EQ(dtype_name(row.dtype), row.name);
    EXPECT_EQ(dtype_from_name(row.name), row.dtype) << row.name;
  }
}

TEST(DType, UnknownNameIsDataErrorThatListsTheKnown) {
  for (const char* name : {"", "float", "Float32", "float32 "}) {
    try {
      dtype_from_name(name);
      FAIL() << "no error for '" << name << "'";
    } catch (const DataError& e) {
      const std::string message = e.what();
      EXPECT_NE(message.find("float32, float64"), std::string::npos) << message;
      EXPECT_NE(message.find("found '" + std::string(name) + "'"), std::string::npos) << message;
    }
  }
}

TEST(DType, NumberOutsideTheEnumIsInternalError) {
  EXPECT_THROW(dtype_bytes(static_cast<DType>(0)), InternalError);
  EXPECT_THROW(dtype_name(static_cast<DType>(11)), InternalError);
}

}  // namespace
}  // namespace muster
