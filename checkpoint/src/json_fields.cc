// Getters with bounds.
#include "json_fields.h"

#include <charconv>
#include <cstdio>
#include <limits>
#include <utility>

#include "muster/base/error.h"

namespace muster::checkpoint::internal {
namespace {

constexpr std::size_t kChecksumDigits = 8;
constexpr int kMaxNesting = 64;
constexpr std::int64_t kMaxDimension = std::numeric_limits<std::int64_t>::max();

// Long values are cut: a message is one line.
std::string shown(const Json& found) {
  constexpr std::size_t kMaxShown = 60;
  std::string text = found.dump(-1, ' ', true, Json::error_handler_t::replace);
  if (text.size() > kMaxShown) text = text.substr(0, kMaxShown) + "...";
  return text;
}

bool is_integer_within(const Json& value, std::int64_t least, std::int64_t most) {
  if (!muster::internal::holds_integer<std::int64_t>(value)) return false;
  const auto number = value.get<std::int64_t>();
  return least <= number && number <= most;
}

bool parse_checksum(std::string_view digits, std::uint32_t* checksum) {
  const char* end = digits.data() + digits.size();
  const auto [stop, error] = std::from_chars(digits.data(), end, *checksum, 16);
  // One spelling a value: from_chars takes upper case too.
  return error == std::errc() && stop == end && checksum_text(*checksum) == digits;
}

}  // namespace

JsonFields::JsonFields(const Json& object, std::string place)
    : object_(object), place_(std::move(place)) {
  if (!object.is_object()) {
    throw CheckpointError(place_ + ": expected a JSON object, found " + shown(object));
  }
}

void JsonFields::refuse(const char* key, const std::string& expected, const Json& found) const {
  throw CheckpointError(place_ + ": expected '" + key + "' to be " + expected + ", found " +
                        shown(found));
}

const Json& JsonFields::any(const char* key) const {
  const auto field = object_.find(key);
  if (field == object_.end()) {
    throw CheckpointError(place_ + ": expected a field '" + key + "', found none");
  }
  return *field;
}

std::int64_t JsonFields::integer(const char* key, std::int64_t least, std::int64_t most) const {
  const Json& value = any(key);
  if (!is_integer_within(value, least, most)) {
    refuse(key, "an integer of " + std::to_string(least) + " to " + std::to_string(most), value);
  }
  return value.get<std::int64_t>();
}

std::string JsonFields::text(const char* key) const {
  const Json& value = any(key);
  if (!value.is_string()) refuse(key, "a string", value);
  return value.get<std::string>();
}

const Json& JsonFields::array(const char* key) const {
  const Json& value = any(key);
  if (!value.is_array()) refuse(key, "an array", value);
  return value;
}

DType JsonFields::dtype(const char* key) const {
  try {
    return dtype_from_name(text(key));
  } catch (const DataError& error) {
    throw CheckpointError(place_ + ": " + error.what());
  }
}

std::vector<std::int64_t> JsonFields::shape(const char* key) const {
  std::vector<std::int64_t> shape;
  for (const Json& dim : array(key)) {
    if (!is_integer_within(dim, 0, kMaxDimension)) refuse(key, "dimensions of 0 or more", dim);
    shape.push_back(dim.get<std::int64_t>());
  }
  return shape;
}

std::vector<std::uint32_t> JsonFields::checksums(const char* key, std::int64_t count) const {
  const std::string digits = text(key);
  const std::string expected = std::to_string(count) + " checksums of 8 hexadecimal digits";
  // The length is checked first, so that a wild count allocates nothing.
  if (digits.size() % kChecksumDigits != 0 ||
      static_cast<std::int64_t>(digits.size() / kChecksumDigits) != count) {
    refuse(key, expected, any(key));
  }
  std::vector<std::uint32_t> checksums(static_cast<std::size_t>(count));
  for (std::size_t i = 0; i < checksums.size(); ++i) {
    const auto one = std::string_view(digits).substr(i * kChecksumDigits, kChecksumDigits);
    if (!parse_checksum(one, &checksums[i])) refuse(key, expected, any(key));
  }
  return checksums;
}

std::string checksum_text(std::uint32_t checksum) {
  char digits[kChecksumDigits + 1];
  std::snprintf(digits, sizeof(digits), "%08x", checksum);
  return digits;
}

std::string checksums_text(const std::vector<std::uint32_t>& checksums) {
  std::string text;
  text.reserve(checksums.size() * kChecksumDigits);
  for (const std::uint32_t checksum : checksums) text += checksum_text(checksum);
  return text;
}

Json parse_untrusted_json(std::string_view text, const std::string& origin) {
  int nesting = 0;
  bool in_string = false;
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
      continue;
    }
    if (c == '"') in_string = true;
    if (c == '[' || c == '{') ++nesting;
    if (c == ']' || c == '}') --nesting;
    if (nesting > kMaxNesting) {
      throw CheckpointError(origin + ": expected JSON nested at most " +
                            std::to_string(kMaxNesting) + " deep, found more at byte " +
                            std::to_string(i));
    }
  }
  try {
    return parse_json(text, origin);
  } catch (const DataError& error) {
    throw CheckpointError(error.what());
  }
}

}  // namespace muster::checkpoint::internal
