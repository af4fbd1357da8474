// Reading JSON that nobody vouches for: exact types, bounds, and errors that name the place.
#ifndef MUSTER_CHECKPOINT_SRC_JSON_FIELDS_H_
#define MUSTER_CHECKPOINT_SRC_JSON_FIELDS_H_

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/base/json.h"

namespace muster::checkpoint::internal {

/// An object at a place ("<path>: tensors[3]"). Each getter throws CheckpointError with place, key,
/// expected and found.
class JsonFields {
 public:
  JsonFields(const Json& object, std::string place);

  const std::string& place() const { return place_; }
  /// An integer within [least, most]; a float, even a whole one, is refused.
  std::int64_t integer(const char* key, std::int64_t least,
                       std::int64_t most = std::numeric_limits<std::int64_t>::max()) const;
  std::string text(const char* key) const;
  const Json& array(const char* key) const;
  const Json& any(const char* key) const;
  DType dtype(const char* key) const;
  std::vector<std::int64_t> shape(const char* key) const;
  /// `count` checksums written by checksums_text().
  std::vector<std::uint32_t> checksums(const char* key, std::int64_t count) const;

  [[noreturn]] void refuse(const char* key, const std::string& expected, const Json& found) const;

 private:
  const Json& object_;
  std::string place_;
};

/// Eight lower-case hexadecimal digits each, with nothing between.
std::string checksums_text(const std::vector<std::uint32_t>& checksums);
std::string checksum_text(std::uint32_t checksum);

/// parse_json with CheckpointError, refusing nesting so deep that walking it would overflow the
/// stack.
Json parse_untrusted_json(std::string_view text, const std::string& origin);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_JSON_FIELDS_H_
