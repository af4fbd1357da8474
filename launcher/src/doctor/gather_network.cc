// Interfaces and InfiniBand ports, from /sys.
#include <algorithm>
#include <cstdlib>

#include "doctor/gather.h"

namespace muster::launcher::doctor {
namespace {

constexpr std::int64_t kTypeLoopback = 772;  // ARPHRD_LOOPBACK
constexpr unsigned kFlagUp = 1;              // IFF_UP

// "0x1003", in hexadecimal.
bool is_up(const SystemView& view, const std::string& folder, bool loopback) {
  const std::string flags = view.text(folder + "flags").value_or("0");
  if ((std::strtoul(flags.c_str(), nullptr, 16) & kFlagUp) == 0) return false;
  // The loopback's state is "unknown", as that of some tunnels.
  return loopback || view.text(folder + "operstate").value_or("") != "down";
}

NetworkInterface read_interface(const SystemView& view, const std::string& name) {
  const std::string folder = "/sys/class/net/" + name + "/";
  NetworkInterface one;
  one.name = name;
  one.loopback = view.number(folder + "type").value_or(0) == kTypeLoopback;
  one.up = is_up(view, folder, one.loopback);
  one.hardware = view.exists(folder + "device");
  one.mtu = static_cast<int>(view.number(folder + "mtu").value_or(0));
  // -1, or an error, where the driver does not know.
  one.megabits_per_second = std::max<std::int64_t>(0, view.number(folder + "speed").value_or(0));
  return one;
}

}  // namespace

NetworkFacts gather_network(const SystemView& view) {
  NetworkFacts facts;
  for (const std::string& name : view.names("/sys/class/net")) {
    if (name != "bonding_masters") facts.interfaces.push_back(read_interface(view, name));
  }
  for (const std::string& device : view.names("/sys/class/infiniband")) {
    const std::string ports = "/sys/class/infiniband/" + device + "/ports";
    for (const std::string& port : view.names(ports)) {
      const std::string folder = ports + "/" + port + "/";
      facts.infiniband.push_back({device + "/" + port, view.text(folder + "state").value_or(""),
                                  view.text(folder + "rate").value_or(""),
                                  view.text(folder + "link_layer").value_or("")});
    }
  }
  return facts;
}

}  // namespace muster::launcher::doctor
