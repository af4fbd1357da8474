// Checks of one range.
#include "range_checks.h"

#include <algorithm>

#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster::checkpoint::internal {
namespace {

constexpr std::size_t kMaxNameBytes = 1000;

bool is_control(char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; }

bool is_utf8(const std::string& text) {
  try {
    Json(text).dump();
    return true;
  } catch (const nlohmann::json::exception&) {
    return false;
  }
}

}  // namespace

void check_tensor_name(const std::string& name) {
  if (!name.empty() && name.size() <= kMaxNameBytes &&
      std::none_of(name.begin(), name.end(), is_control) && is_utf8(name)) {
    return;
  }
  throw CheckpointError("expected a tensor name of 1 to " + std::to_string(kMaxNameBytes) +
                        " bytes of UTF-8 without control characters, found " +
                        Json(name).dump(-1, ' ', true, Json::error_handler_t::replace) +
                        "; rename the parameter or buffer");
}

void check_range(const TensorRange& range) {
  check_tensor_name(range.name);
  const std::int64_t numel = checked_numel(range.name, range.dtype, range.shape);
  if (0 <= range.begin && range.begin <= range.end && range.end <= numel) return;
  throw CheckpointError("expected a range within the tensor's " + std::to_string(numel) +
                        " elements, found " + describe(range));
}

void check_source(const SourceRange& source) {
  check_range(source.range);
  if (source.data != nullptr || source.range.numel() == 0) return;
  throw CheckpointError("expected the address of " + describe(source.range) + ", found null");
}

}  // namespace muster::checkpoint::internal
