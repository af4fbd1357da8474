// Texts shared by all errors.
#include "muster/base/error.h"

#include <cstring>

namespace muster {

std::string errno_text(int errno_value) {
  const char* name = strerrorname_np(errno_value);
  const char* text = strerrordesc_np(errno_value);
  if (name == nullptr || text == nullptr) return "errno " + std::to_string(errno_value);
  return std::string(text) + " (" + name + ")";
}

}  // namespace muster
