// A libnvidia-ml.so.1 with two GPUs: as much of it as `muster doctor` calls. MUSTER_STAND_IN_NVML
// chooses how it ails: "crashes", "mismatch".
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <string>

namespace {

using Device = void*;
struct Memory {
  unsigned long long total, free, used;
};
struct Pci {
  char legacy_address[16];
  unsigned domain, bus, device, device_id, subsystem_id;
  char address[32];
};

unsigned index_of(Device device) {
  return static_cast<unsigned>(reinterpret_cast<std::uintptr_t>(device) - 1);
}

}  // namespace

extern "C" {

int nvmlInit_v2() {
  const char* ailment = std::getenv("MUSTER_STAND_IN_NVML");
  const std::string how = ailment == nullptr ? "" : ailment;
  if (how == "crashes") std::abort();
  return how == "mismatch" ? 18 : 0;
}
int nvmlSystemGetDriverVersion(char* text, unsigned bytes) {
  std::strncpy(text, "580.65.06", bytes);
  return 0;
}
int nvmlSystemGetCudaDriverVersion_v2(int* version) {
  *version = 13000;
  return 0;
}
int nvmlDeviceGetCount_v2(unsigned* count) {
  *count = 2;
  return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device* device) {
  *device = reinterpret_cast<Device>(static_cast<std::uintptr_t>(index) + 1);
  return 0;
}
int nvmlDeviceGetName(Device, char* text, unsigned bytes) {
  std::strncpy(text, "NVIDIA H200", bytes);
  return 0;
}
int nvmlDeviceGetMemoryInfo(Device, Memory* memory) {
  *memory = {150ull << 30, 149ull << 30, 1ull << 30};
  return 0;
}
int nvmlDeviceGetPciInfo_v3(Device device, Pci* pci) {
  std::strcpy(pci->address, index_of(device) == 0 ? "00000000:0F:00.0" : "00000000:1F:00.0");
  return 0;
}
int nvmlDeviceGetTotalEccErrors(Device device, int type, int counter, unsigned long long* errors) {
  if (type != 1 || counter != 0) return 2;
  *errors = index_of(device) == 1 ? 3 : 0;
  return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(Device, unsigned long long* reasons) {
  *reasons = 1;  // idle
  return 0;
}
int nvmlDeviceGetCurrPcieLinkWidth(Device device, unsigned* width) {
  *width = index_of(device) == 0 ? 16 : 8;
  return 0;
}
int nvmlDeviceGetMaxPcieLinkWidth(Device, unsigned* width) {
  *width = 16;
  return 0;
}
int nvmlDeviceGetNvLinkState(Device, unsigned link, int* active) {
  *active = link < 4 ? 1 : 0;
  return link < 6 ? 0 : 2;
}
int nvmlDeviceGetTopologyCommonAncestor(Device, Device, int* level) {
  *level = 50;
  return 0;
}
int nvmlDeviceGetP2PStatus(Device, Device, int index, int* status) {
  *status = index == 2 ? 1 : 0;  // they read each other, and not over NVLink
  return 0;
}
}
