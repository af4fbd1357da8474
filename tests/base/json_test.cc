// Parsing JSON and reading its fields with our errors.
#include "muster/base/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

template <typename Body>
std::string data_error(Body body) {
  try {
    body();
  } catch (const DataError& e) {
    return e.what();
  }
  return "";
}

TEST(Json, KeepsKeysInTheOrderWritten) {
  EXPECT_EQ(parse_json(R"({"z": 1, "a": 2, "m": 3})", "text").dump(), R"({"z":1,"a":2,"m":3})");
}

TEST(Json, BrokenTextNamesOriginAndPlace) {
  for (const char* text : {"", "{", "{\"a\": }", "nul", "[1, 2", "{} {}", "\"\xff\""}) {
    EXPECT_THROW(parse_json(text, "here"), DataError) << text;
  }
  const std::string message = data_error([] { parse_json("{\n \"a\": ?}", "run/manifest.json"); });
  EXPECT_THAT(message, HasSubstr("run/manifest.json: expected JSON, found"));
  EXPECT_THAT(message, HasSubstr("line 2, column 7"));
}

TEST(JsonField, ReadsEachType) {
  const Json json = parse_json(
      R"({"i": -5, "u": 18446744073709551615, "d": 2.5, "b": true, "s": "x", "v": [1, 2]})",
      "text");
  EXPECT_EQ(json_field<std::int64_t>(json, "i", "text"), -5);
  EXPECT_EQ(json_field<std::uint64_t>(json, "u", "text"), ~std::uint64_t{0});
  EXPECT_EQ(json_field<double>(json, "d", "text"), 2.5);
  EXPECT_EQ(json_field<double>(json, "i", "text"), -5.0);
  EXPECT_TRUE(json_field<bool>(json, "b", "text"));
  EXPECT_EQ(json_field<std::string>(json, "s", "text"), "x");
  EXPECT_EQ((json_field<std::vector<int>>(json, "v", "text")), (std::vector<int>{1, 2}));
}

TEST(JsonField, MissingFieldAndNoObjectAreDataErrors) {
  const std::string message =
      data_error([] { json_field<int>(parse_json("{}", ""), "step", "shard 3"); });
  EXPECT_THAT(message, HasSubstr("shard 3: expected the field 'step'"));
  EXPECT_THAT(message, HasSubstr("no such field"));
  EXPECT_THROW(json_field<int>(parse_json("[1]", ""), "step", "x"), DataError);
  EXPECT_THROW(json_field<int>(parse_json("null", ""), "step", "x"), DataError);
}

TEST(JsonField, WrongTypeSaysWhatWasFound) {
  const Json json = parse_json(R"({"s": "seven", "n": null})", "text");
  const std::string as_number = data_error([&] { json_field<double>(json, "s", "text"); });
  EXPECT_THAT(as_number, HasSubstr("string"));
  const std::string as_integer = data_error([&] { json_field<int>(json, "s", "text"); });
  EXPECT_THAT(as_integer, HasSubstr("\"seven\""));
  EXPECT_THROW(json_field<std::string>(json, "n", "text"), DataError);
  EXPECT_THROW(json_field<bool>(json, "s", "text"), DataError);
}

TEST(JsonField, IntegersAreNeverCut) {
  const Json json =
      parse_json(R"({"f": 1.5, "e": 1e300, "t": true, "big": 4294967296, "neg": -1})", "text");
  EXPECT_THROW(json_field<std::int64_t>(json, "f", "text"), DataError);
  EXPECT_THROW(json_field<std::int64_t>(json, "e", "text"), DataError);
  EXPECT_THROW(json_field<std::int64_t>(json, "t", "text"), DataError);
  EXPECT_THROW(json_field<int>(json, "big", "text"), DataError);
  EXPECT_THROW(json_field<std::uint64_t>(json, "neg", "text"), DataError);
  EXPECT_EQ(json_field<std::int64_t>(json, "big", "text"), 4294967296);
}

}  // namespace
}  // namespace muster
