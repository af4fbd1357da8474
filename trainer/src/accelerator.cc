// Which device, and who speaks for it.
#include "accelerator.h"

#include "muster/base/error.h"

namespace muster::internal {
namespace {

Accelerator* registered = nullptr;

Accelerator& needed_accelerator(at::Device device) {
  if (registered != nullptr) return *registered;
  throw ConfigError(
      "model: expected it on the CPU, since this program has no part for GPUs, found it on " +
      device.str() + "; link the program with muster::cuda");
}

}  // namespace

Accelerator* accelerator() { return registered; }
void register_accelerator(Accelerator* accelerator) { registered = accelerator; }

at::Device choose_device(const std::string& wanted, int local_rank,
                         const Accelerator* accelerator) {
  const int devices = accelerator == nullptr || wanted == "cpu" ? 0 : accelerator->devices();
  if (devices > 0) return {at::kCUDA, static_cast<at::DeviceIndex>(local_rank % devices)};
  if (wanted != "cuda") return at::kCPU;
  if (accelerator == nullptr) {
    throw ConfigError(
        "--device: expected cpu, since this program has no part for GPUs, found cuda; link it with "
        "muster::cuda");
  }
  throw ConfigError(
      "--device: expected a GPU for cuda, found none; muster doctor says what is missing");
}

std::unique_ptr<Communicator> communicator_on(at::Device device, Communicator& host,
                                              const EngineOptions& options) {
  return needed_accelerator(device).make_communicator(host, device, options);
}

const PieceDevice& piece_device(at::Device device, const EngineOptions& options) {
  if (device.is_cpu()) return host_pieces();
  if (options.offload_optimizer) return pinned_host_pieces();
  return needed_accelerator(device).pieces(device);
}

}  // namespace muster::internal
