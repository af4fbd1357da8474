// JSON files that end with a checksum of all bytes before it (docs/checkpoint_format.md).
#ifndef MUSTER_CHECKPOINT_SRC_SEALED_JSON_H_
#define MUSTER_CHECKPOINT_SRC_SEALED_JSON_H_

#include <string>
#include <string_view>

#include "muster/base/json.h"

namespace muster::checkpoint::internal {

/// The text of a JSON object that is not empty, with "crc32c" as its last member. `json` holds text
/// of UTF-8 alone, else nlohmann's exception comes through.
std::string sealed_text(const Json& json);

/// What follows `before`, the last member's text and the object's end: always as long.
std::string seal(std::string_view before);

/// Throws CheckpointError naming `origin` and `what` ("manifest") when `text` does not end with its
/// own checksum.
void check_seal(std::string_view text, const std::string& what, const std::string& origin);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_SEALED_JSON_H_
