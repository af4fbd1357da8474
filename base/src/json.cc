// JSON errors in our own words.
#include "muster/base/json.h"

#include "muster/base/error.h"

namespace muster {

Json parse_json(std::string_view text, const std::string& origin) {
  try {
    return Json::parse(text);
  } catch (const nlohmann::json::exception& e) {
    throw DataError(origin + ": expected JSON, found " + e.what());
  }
}

namespace internal {

void throw_json_field(const char* key, const std::string& origin, const std::string& found) {
  throw DataError(origin + ": expected the field '" + key + "', found: " + found);
}

}  // namespace internal
}  // namespace muster
