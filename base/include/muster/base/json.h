// JSON with its keys in the order written, and parsing that throws our errors.
#ifndef MUSTER_BASE_JSON_H_
#define MUSTER_BASE_JSON_H_

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

namespace muster {

using Json = nlohmann::ordered_json;

/// Parses `text`. Throws DataError naming `origin` (a path or "message from rank 3") and the line
/// and column where it broke.
Json parse_json(std::string_view text, const std::string& origin);

/// `object[key]` as T. Throws DataError naming `origin`, the key and what was found: no such field,
/// another type, or for an integer T a fraction or a number that T cannot hold.
template <typename T>
T json_field(const Json& object, const char* key, const std::string& origin);

namespace internal {
[[noreturn]] void throw_json_field(const char* key, const std::string& origin,
                                   const std::string& found);

/// Whether `value` is a whole number within T; the library itself would truncate without a word.
template <typename T>
bool holds_integer(const Json& value) {
  if (value.is_number_unsigned()) return std::in_range<T>(value.get<std::uint64_t>());
  return value.is_number_integer() && std::in_range<T>(value.get<std::int64_t>());
}
}  // namespace internal

template <typename T>
T json_field(const Json& object, const char* key, const std::string& origin) {
  if (!object.is_object() || !object.contains(key)) {
    internal::throw_json_field(key, origin, "no such field");
  }
  const Json& value = object.at(key);
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if (!internal::holds_integer<T>(value)) {
      internal::throw_json_field(key, origin,
                                 value.dump(-1, ' ', true, Json::error_handler_t::replace));
    }
  }
  try {
    return value.template get<T>();
  } catch (const nlohmann::json::exception& e) {
    internal::throw_json_field(key, origin, e.what());
  }
}

}  // namespace muster

#endif  // MUSTER_BASE_JSON_H_
