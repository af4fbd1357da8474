// NVIDIA's driver, devices and libraries, through NVML as it is declared in nvml.h: no header and
// no library of NVIDIA's is needed to build this. Everything is asked in a child.
#include <array>
#include <cctype>
#include <chrono>

#include "doctor/ask_child.h"
#include "doctor/gather.h"
#include "doctor/shared_library.h"
#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster::launcher::doctor {
namespace {

constexpr std::chrono::seconds kLimitOfNvml{20};  // the driver may have to wake the devices

// As in nvml.h.
using Device = void*;
struct NvmlMemory {
  unsigned long long total, free, used;
};
struct NvmlPci {
  char legacy_address[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char address[32];
};
constexpr int kSuccess = 0;
constexpr int kUncorrected = 1;     // NVML_MEMORY_ERROR_TYPE_UNCORRECTED
constexpr int kSinceLoaded = 0;     // NVML_VOLATILE_ECC
constexpr unsigned kMaxLinks = 18;  // NVML_NVLINK_MAX_LINKS
constexpr int kPeerRead = 0;        // NVML_P2P_CAPS_INDEX_READ
constexpr int kPeerNvlink = 2;      // NVML_P2P_CAPS_INDEX_NVLINK
// HwSlowdown, SwThermalSlowdown, HwThermalSlowdown, HwPowerBrakeSlowdown
constexpr unsigned long long kSlowedReasons = 0x8 | 0x20 | 0x40 | 0x80;

std::string path_name(int level) {  // nvmlGpuTopologyLevel_t
  if (level <= 20) return "PCIe switch";
  if (level <= 40) return "CPU socket";
  return "between sockets";
}

Json device_json(const SharedLibrary& nvml, Device device) {
  std::array<char, 96> name{};
  NvmlMemory memory{};
  NvmlPci pci{};
  unsigned long long errors = 0;
  unsigned long long reasons = 0;
  unsigned width = 0;
  unsigned max_width = 0;
  nvml.call("nvmlDeviceGetName", device, name.data(), static_cast<unsigned>(name.size()));
  nvml.call("nvmlDeviceGetMemoryInfo", device, &memory);
  nvml.call("nvmlDeviceGetPciInfo_v3", device, &pci);
  nvml.call("nvmlDeviceGetTotalEccErrors", device, kUncorrected, kSinceLoaded, &errors);
  nvml.call("nvmlDeviceGetCurrentClocksThrottleReasons", device, &reasons);
  nvml.call("nvmlDeviceGetCurrPcieLinkWidth", device, &width);
  nvml.call("nvmlDeviceGetMaxPcieLinkWidth", device, &max_width);
  int links = 0;
  for (unsigned link = 0; link < kMaxLinks; ++link) {
    int active = 0;
    if (nvml.call("nvmlDeviceGetNvLinkState", device, link, &active) != kSuccess) break;
    links += active;
  }
  return {{"name", name.data()},          {"pci_address", pci.address},
          {"memory_bytes", memory.total}, {"memory_used_bytes", memory.used},
          {"uncorrected_errors", errors}, {"slowed_by_heat", (reasons & kSlowedReasons) != 0},
          {"active_nvlinks", links},      {"pcie_width", width},
          {"max_pcie_width", max_width}};
}

Json pair_json(const SharedLibrary& nvml, Device a, Device b) {
  int level = 0;
  int peer = -1;
  int nvlink = -1;
  nvml.call("nvmlDeviceGetTopologyCommonAncestor", a, b, &level);
  nvml.call("nvmlDeviceGetP2PStatus", a, b, kPeerRead, &peer);
  nvml.call("nvmlDeviceGetP2PStatus", a, b, kPeerNvlink, &nvlink);
  return {{"path", nvlink == kSuccess ? "NVLink" : path_name(level)},
          {"peer_access", peer == kSuccess}};
}

std::string ask_nvml() {
  const SharedLibrary nvml({"libnvidia-ml.so.1"});
  if (!nvml.is_loaded()) throw InternalError("libnvidia-ml.so.1 is not there");
  if (const int error = nvml.call("nvmlInit_v2"); error != kSuccess) {
    throw InternalError("nvmlInit_v2 failed with error " + std::to_string(error) +
                        (error == 18 ? " (driver and library are of different versions)" : ""));
  }
  std::array<char, 96> driver{};
  int cuda = 0;
  unsigned count = 0;
  nvml.call("nvmlSystemGetDriverVersion", driver.data(), static_cast<unsigned>(driver.size()));
  nvml.call("nvmlSystemGetCudaDriverVersion_v2", &cuda);
  nvml.call("nvmlDeviceGetCount_v2", &count);
  std::vector<Device> devices;
  for (unsigned i = 0; i < count; ++i) {
    Device device = nullptr;
    if (nvml.call("nvmlDeviceGetHandleByIndex_v2", i, &device) == kSuccess) {
      devices.push_back(device);
    }
  }
  Json json{{"driver", driver.data()}, {"cuda", cuda}};
  json["devices"] = Json::array();
  json["pairs"] = Json::array();
  for (std::size_t a = 0; a < devices.size(); ++a) {
    json["devices"].push_back(device_json(nvml, devices[a]));
    for (std::size_t b = a + 1; b < devices.size(); ++b) {
      Json pair = pair_json(nvml, devices[a], devices[b]);
      pair["a"] = a;
      pair["b"] = b;
      json["pairs"].push_back(std::move(pair));
    }
  }
  return json.dump(-1, ' ', true, Json::error_handler_t::replace);
}

GpuDevice read_device(const SystemView& view, const Json& json) {
  const auto number = [&](const char* key) { return json_field<std::int64_t>(json, key, "NVML"); };
  GpuDevice device;
  device.name = json_field<std::string>(json, "name", "NVML");
  device.pci_address = json_field<std::string>(json, "pci_address", "NVML");
  device.memory_bytes = number("memory_bytes");
  device.memory_used_bytes = number("memory_used_bytes");
  device.uncorrected_errors = number("uncorrected_errors");
  device.slowed_by_heat = json_field<bool>(json, "slowed_by_heat", "NVML");
  device.active_nvlinks = static_cast<int>(number("active_nvlinks"));
  device.pcie_width = static_cast<int>(number("pcie_width"));
  device.max_pcie_width = static_cast<int>(number("max_pcie_width"));
  // NVML writes 00000000:0F:00.0, /sys 0000:0f:00.0.
  std::string address = device.pci_address;
  if (address.size() > 12) address = address.substr(address.size() - 12);
  for (char& c : address) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  device.numa_node =
      static_cast<int>(view.number("/sys/bus/pci/devices/" + address + "/numa_node").value_or(-1));
  return device;
}

void read_nvml(const SystemView& view, const std::string& text, GpuFacts& facts) {
  const Json json = parse_json(text, "NVML");
  facts.driver = json_field<std::string>(json, "driver", "NVML");
  facts.cuda_of_driver = json_field<int>(json, "cuda", "NVML");
  for (const Json& device : json.at("devices")) facts.devices.push_back(read_device(view, device));
  for (const Json& pair : json.at("pairs")) {
    facts.pairs.push_back({json_field<int>(pair, "a", "NVML"), json_field<int>(pair, "b", "NVML"),
                           json_field<std::string>(pair, "path", "NVML"),
                           json_field<bool>(pair, "peer_access", "NVML")});
  }
}

/// The version that a library's function tells; 0 where there is no such library.
int ask_version(std::initializer_list<std::string> libraries, const char* function) {
  const Answer answer = ask_child(
      [&] {
        int version = 0;
        SharedLibrary(libraries).call(function, &version);
        return std::to_string(version);
      },
      kLimitOfNvml);
  return static_cast<int>(leading_number(answer.text).value_or(0));
}

/// "NVRM version: NVIDIA UNIX x86_64 Kernel Module  580.65.06  Sun Jul ..."
std::string driver_in_proc(const SystemView& view) {
  for (const std::string& line : view.lines("/proc/driver/nvidia/version")) {
    if (!line.starts_with("NVRM version:")) continue;
    for (const std::string& word : split_words(line)) {
      if (leading_number(word) && word.find('.') != std::string::npos) return word;
    }
  }
  return "";
}

}  // namespace

GpuFacts gather_gpu(const SystemView& view) {
  GpuFacts facts;
  facts.driver = driver_in_proc(view);
  facts.devices_of_driver = static_cast<int>(view.names("/proc/driver/nvidia/gpus").size());
  const Answer answer = ask_child(ask_nvml, kLimitOfNvml);
  if (answer.error.empty()) {
    read_nvml(view, answer.text, facts);
  } else {
    facts.nvml_error = answer.error;
  }
  facts.cuda_runtime =
      ask_version({"libcudart.so.13", "libcudart.so.12", "libcudart.so"}, "cudaRuntimeGetVersion");
  facts.nccl = ask_version({"libnccl.so.2", "libnccl.so"}, "ncclGetVersion");
  return facts;
}

}  // namespace muster::launcher::doctor
