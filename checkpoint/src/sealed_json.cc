// The last member of the object, always as long, so that a reader finds it without parsing
// anything.
#include "sealed_json.h"

#include "json_fields.h"
#include "muster/base/crc32c.h"
#include "muster/base/error.h"

namespace muster::checkpoint::internal {

std::string seal(std::string_view before) {
  const std::uint32_t checksum = crc32c(before.data(), before.size());
  return ",\n \"crc32c\": \"" + checksum_text(checksum) + "\"\n}\n";
}

std::string sealed_text(const Json& json) {
  std::string text = json.dump(1);
  text.resize(text.size() - 2);  // "\n}": the seal closes the object
  return text + seal(text);
}

void check_seal(std::string_view text, const std::string& what, const std::string& origin) {
  const std::size_t seal_bytes = seal("").size();
  if (text.size() < seal_bytes) {
    throw CheckpointError(origin + ": expected a " + what + ", found " +
                          std::to_string(text.size()) + " bytes: the file is truncated");
  }
  const std::string_view before = text.substr(0, text.size() - seal_bytes);
  const std::string_view found = text.substr(before.size());
  if (found == seal(before)) return;
  throw CheckpointError(
      origin + ": expected the " + what + " to end with its own checksum, " +
      Json(seal(before)).dump() + ", found " +
      Json(std::string(found)).dump(-1, ' ', true, Json::error_handler_t::replace) +
      ": the file is damaged");
}

}  // namespace muster::checkpoint::internal
