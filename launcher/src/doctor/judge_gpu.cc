// NVIDIA's driver, devices and libraries.
#include "doctor/judges.h"
#include "doctor/quantities.h"

namespace muster::launcher::doctor {
namespace {

std::string cuda_text(int version) { return "CUDA " + version_text(version, 1000, 10); }

std::string device_text(std::size_t index, const GpuDevice& device) {
  return "GPU " + std::to_string(index) + " (" + device.name + ", " + device.pci_address + ")";
}

void judge_devices(const GpuFacts& gpu, Verdicts& verdicts) {
  for (std::size_t i = 0; i < gpu.devices.size(); ++i) {
    const GpuDevice& device = gpu.devices[i];
    const std::string name = device_text(i, device);
    if (device.uncorrected_errors > 0) {
      verdicts.error("gpu.memory_errors",
                     name + " had " + std::to_string(device.uncorrected_errors) +
                         " memory errors that could not be corrected",
                     "results may be wrong", "take it out of service: nvidia-smi -q -d ECC");
    }
    if (device.slowed_by_heat) {
      verdicts.warning("gpu.slowed", name + " has lowered its clock for heat or lack of power",
                       "the slowest rank sets the pace of all",
                       "nvidia-smi -q -d PERFORMANCE; look at its cooling and power supply");
    }
    if (device.pcie_width > 0 && device.pcie_width < device.max_pcie_width) {
      verdicts.warning("gpu.narrow",
                       name + " uses " + std::to_string(device.pcie_width) + " of " +
                           std::to_string(device.max_pcie_width) + " PCIe lanes",
                       "copies to and from it are slower by as much",
                       "see whether the slot has all lanes, and reseat the card");
    }
    if (device.memory_used_bytes > device.memory_bytes / 10) {
      verdicts.note("gpu.used",
                    bytes_text(device.memory_used_bytes) + " of " +
                        bytes_text(device.memory_bytes) + " of " + name + " are in use",
                    "another process works there", "nvidia-smi");
    }
  }
}

void judge_cuda_libraries(const Facts& facts, Verdicts& verdicts) {
  const GpuFacts& gpu = facts.gpu;
  if (gpu.cuda_runtime > 0 && gpu.cuda_of_driver > 0 &&
      gpu.cuda_runtime / 1000 > gpu.cuda_of_driver / 1000) {
    verdicts.error("gpu.old_driver",
                   "the driver " + gpu.driver + " is good for " + cuda_text(gpu.cuda_of_driver) +
                       "; the runtime is " + cuda_text(gpu.cuda_runtime),
                   "a runtime of a newer major version does not start on an older driver",
                   "install a newer driver, or a LibTorch for the older CUDA");
  }
  if (!facts.build.libtorch.empty() && !facts.build.libtorch_has_cuda) {
    verdicts.note("gpu.libtorch", "LibTorch " + facts.build.libtorch + " of this build has no CUDA",
                  "programs train on the CPU", "build with a LibTorch for CUDA (-DLIBTORCH_ROOT=)");
  }
  if (gpu.nccl == 0 && gpu.devices.size() > 1) {
    verdicts.warning("gpu.nccl", "there are several GPUs, and no libnccl.so.2 is found",
                     "GPUs exchange gradients through NCCL",
                     "install NCCL, or put it into LD_LIBRARY_PATH");
  }
}

}  // namespace

void judge_gpu(const Facts& facts, Verdicts& verdicts) {
  const GpuFacts& gpu = facts.gpu;
  if (gpu.driver.empty()) return;  // no GPU is no illness
  if (!gpu.nvml_error.empty()) {
    verdicts.error(
        "gpu.driver",
        "the NVIDIA driver " + gpu.driver + " is loaded, and its library says: " + gpu.nvml_error,
        "no program can use the GPUs",
        "nvidia-smi says more; after an update of the driver restart the machine; in a "
        "container use --gpus all");
    return;
  }
  verdicts.ok("gpu.driver", "the driver " + gpu.driver + " answers for " +
                                count_text(static_cast<std::int64_t>(gpu.devices.size()), "GPU"));
  if (gpu.devices_of_driver > static_cast<int>(gpu.devices.size())) {
    verdicts.note("gpu.hidden",
                  "the machine has " + count_text(gpu.devices_of_driver, "GPU") +
                      ", this process sees " + std::to_string(gpu.devices.size()),
                  "the others are kept from this container or job");
  }
  judge_devices(gpu, verdicts);
  judge_cuda_libraries(facts, verdicts);
  for (const GpuPair& pair : gpu.pairs) {
    if (pair.peer_access) continue;
    verdicts.note("gpu.peers",
                  "GPUs " + std::to_string(pair.a) + " and " + std::to_string(pair.b) +
                      " do not reach each other's memory (" + pair.path + ")",
                  "what they exchange goes through the processor's memory",
                  "nvidia-smi topo -p2p r; in a virtual machine ask for it, on a machine of your "
                  "own turn PCIe ACS off");
    break;
  }
}

}  // namespace muster::launcher::doctor
