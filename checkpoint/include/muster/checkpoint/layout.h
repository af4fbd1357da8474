// Names of directories and files in a checkpoint directory, and the way back from a name to a step.
#ifndef MUSTER_CHECKPOINT_LAYOUT_H_
#define MUSTER_CHECKPOINT_LAYOUT_H_

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace muster::checkpoint {

/// "step-00001200"; more than eight digits where the step needs them.
std::string step_directory_name(std::int64_t step);

/// The inverse of step_directory_name; nothing for any other name ("step-00001200.damaged",
/// ".attempt-...").
std::optional<std::int64_t> step_of_directory_name(std::string_view name);

/// ".attempt-step-00001200-g3": a checkpoint that generation 3 has not committed yet.
std::string attempt_directory_name(std::int64_t step, int generation);

/// "rank-00001-of-00004.h5"
std::string shard_file_name(int rank, int world_size);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_LAYOUT_H_
