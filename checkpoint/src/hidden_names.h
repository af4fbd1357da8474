// Names in a checkpoint directory that no reader takes for a checkpoint.
#ifndef MUSTER_CHECKPOINT_SRC_HIDDEN_NAMES_H_
#define MUSTER_CHECKPOINT_SRC_HIDDEN_NAMES_H_

#include <filesystem>
#include <string>
#include <string_view>

namespace muster::checkpoint::internal {

inline constexpr std::string_view kAttemptPrefix = ".attempt-";
inline constexpr std::string_view kReplacedPrefix = ".replaced-";
inline constexpr std::string_view kRetiredPrefix = ".retired-";

/// The checkpoint's path under such a name.
inline std::filesystem::path hidden(const std::filesystem::path& checkpoint,
                                    std::string_view prefix) {
  return checkpoint.parent_path() / (std::string(prefix) + checkpoint.filename().string());
}

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_HIDDEN_NAMES_H_
