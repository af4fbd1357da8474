// JSON in one spelling, so that equal values have equal text.
#ifndef MUSTER_CHECKPOINT_SRC_CANONICAL_JSON_H_
#define MUSTER_CHECKPOINT_SRC_CANONICAL_JSON_H_

#include <string>

#include "muster/base/json.h"

namespace muster::checkpoint::internal {

/// Keys sorted by their bytes, no white space, UTF-8 as it is, floats in the shortest form that
/// reads back the same.
std::string canonical_json(const Json& json);

/// run_state["progress"]; null when there is none.
Json progress_of(const Json& run_state);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_CANONICAL_JSON_H_
