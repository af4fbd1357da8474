// What reader and writer of safetensors files share: names of dtypes, limits, and the header's
// text.
#ifndef MUSTER_CHECKPOINT_SRC_SAFETENSORS_FORMAT_H_
#define MUSTER_CHECKPOINT_SRC_SAFETENSORS_FORMAT_H_

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::checkpoint::internal {

inline constexpr std::int64_t kMaxSafetensorsHeaderBytes = 100'000'000;
inline constexpr std::int64_t kSafetensorsLengthBytes = 8;
inline constexpr const char* kSafetensorsMetadata = "__metadata__";

/// "BF16"
std::string_view safetensors_dtype_name(DType dtype);
/// Nothing where checkpoints have no such dtype.
std::optional<DType> dtype_from_safetensors(std::string_view name);
/// Place of the dtype in a file: tensors of a smaller one come first.
int safetensors_order(DType dtype);

struct SafetensorsHeader {
  std::map<std::string, SafetensorsEntry> tensors;  ///< Offsets from the header's end.
  std::map<std::string, std::string> metadata;
};

/// Parses `text` and checks all that can be told without the file's size, but not that tensors
/// follow each other. Throws CheckpointError naming `origin`.
SafetensorsHeader parse_safetensors_header(std::string_view text, const std::string& origin);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_SAFETENSORS_FORMAT_H_
