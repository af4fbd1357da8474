// The library's other object type sorts its keys.
#include "canonical_json.h"

namespace muster::checkpoint::internal {

std::string canonical_json(const Json& json) { return nlohmann::json(json).dump(); }

Json progress_of(const Json& run_state) {
  if (!run_state.is_object()) return nullptr;
  const auto progress = run_state.find("progress");
  return progress == run_state.end() ? Json(nullptr) : *progress;
}

}  // namespace muster::checkpoint::internal
