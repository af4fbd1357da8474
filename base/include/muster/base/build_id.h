// Which binary is this?
#ifndef MUSTER_BASE_BUILD_ID_H_
#define MUSTER_BASE_BUILD_ID_H_

#include <string>

namespace muster {

/// The running program's GNU build id in hexadecimal digits, as `file` and `readelf -n` show it: a
/// hash of what was linked. Empty where the linker wrote none.
std::string own_build_id();

}  // namespace muster

#endif  // MUSTER_BASE_BUILD_ID_H_
