// Numbers as people read them.
#ifndef MUSTER_LAUNCHER_DOCTOR_QUANTITIES_H_
#define MUSTER_LAUNCHER_DOCTOR_QUANTITIES_H_

#include <cstdint>
#include <string>

namespace muster::launcher::doctor {

inline constexpr std::int64_t kMiB = std::int64_t{1} << 20;

std::string bytes_text(std::int64_t bytes);                             ///< "23.5 GiB"
std::string speed_text(double bytes_per_second);                        ///< "24.1 GB/s"
std::string time_text(double seconds);                                  ///< "1.8 us"
std::string cores_text(double cores);                                   ///< "1 core", "2.5 cores"
std::string count_text(std::int64_t count, const std::string& noun);    ///< "1 rank", "2 ranks"
std::string percent_text(double share);                                 ///< "40%"
std::string version_text(int version, int major_unit, int minor_unit);  ///< 13000, 1000, 10: "13.0"

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_QUANTITIES_H_
