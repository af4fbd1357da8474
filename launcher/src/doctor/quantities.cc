// Three digits are enough for a diagnosis.
#include "doctor/quantities.h"

#include <array>
#include <cstdio>

namespace muster::launcher::doctor {
namespace {

std::string number_text(double value) {
  std::array<char, 32> text{};
  std::snprintf(text.data(), text.size(), value < 99.95 ? "%.3g" : "%.0f", value);
  return text.data();
}

template <std::size_t N>
std::string scaled(double value, double step, const std::array<const char*, N>& units) {
  std::size_t unit = 0;
  while (value >= step && unit + 1 < N) {
    value /= step;
    ++unit;
  }
  return number_text(value) + " " + units[unit];
}

}  // namespace

std::string bytes_text(std::int64_t bytes) {
  return scaled(static_cast<double>(bytes), 1024,
                std::array{"bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"});
}

std::string speed_text(double bytes_per_second) {
  return scaled(bytes_per_second, 1000, std::array{"B/s", "kB/s", "MB/s", "GB/s", "TB/s"});
}

std::string time_text(double seconds) {
  return seconds >= 1 ? number_text(seconds) + " s"
                      : scaled(seconds * 1e6, 1000, std::array{"us", "ms"});
}

std::string cores_text(double cores) {
  return number_text(cores) + (cores == 1 ? " core" : " cores");
}

std::string count_text(std::int64_t count, const std::string& noun) {
  return std::to_string(count) + " " + noun + (count == 1 ? "" : "s");
}

std::string percent_text(double share) { return number_text(share * 100) + "%"; }

std::string version_text(int version, int major_unit, int minor_unit) {
  return std::to_string(version / major_unit) + "." +
         std::to_string(version % major_unit / minor_unit);
}

}  // namespace muster::launcher::doctor
