// What carries operations on device memory. Pure.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_CHOICE_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_CHOICE_H_

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace muster::internal {

/// A rank's GPU. Trivially copyable: ranks tell each other.
struct RankDevice {
  std::int32_t number = 0;            ///< As the rank counts them.
  std::int32_t devices = 0;           ///< That the rank sees.
  std::uint64_t node = 0;             ///< Equal on ranks of one machine.
  std::array<std::uint8_t, 16> id{};  ///< Of the GPU, wherever it is seen from.
  std::int32_t reaches_all = 0;       ///< 1: it shows its memory and has opened all others'.
};

struct DeviceChoice {
  std::string transport;  ///< "nccl", "cuda_ipc" or "host".
  std::string reason;
};

/// `wanted` is one of these or "auto". Throws ConfigError when a rank has no such GPU, or `wanted`
/// is unknown or cannot serve these ranks.
DeviceChoice choose_device_transport(const std::vector<RankDevice>& ranks,
                                     const std::string& wanted);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_DEVICE_CHOICE_H_
