// JSON with its keys in the order written, and parsing that throws our errors.
#ifndef MUSTER_BASE_JSON_H_
#define MUSTER_BASE_JSON_H_

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace muster {

using Json = nlohmann::ordered_json;

/// Parses `text`. Throws DataError naming `origin` (a path or "message from rank 3") and the byte where it broke.
Json parse_json(std::string_view text, const std::string& origin);

/// `object[key]` as T. Throws DataError naming `origin`, the key and the type found.
template <typename T>
T json_field(const Json& object, const char* key, const std::string& origin);

namespace internal {
[[noreturn]] void throw_json_field(const char* key, const std::string& origin,
                                   const std::string& found);
}  // namespace internal

template <typename T>
T json_field(const Json& object, const char* key, const std::string& origin) {
  if (!object.is_object() || !object.contains(key)) {
    internal::throw_json_field(key, origin, "no such field");
  }
  try {
    return object.at(key).template get<T>();
  } catch (const nlohmann::json::exception& e) {
    internal::throw_json_field(key, origin, e.what());
  }
}

}  // namespace muster

#endif  // MUSTER_BASE_JSON_H_
