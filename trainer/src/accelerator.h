// What training on GPUs needs beyond LibTorch's own operations. It is in the library muster::cuda:
// programs that link it can train on GPUs, and the others load nothing of CUDA.
#ifndef MUSTER_TRAINER_SRC_ACCELERATOR_H_
#define MUSTER_TRAINER_SRC_ACCELERATOR_H_

#include <ATen/core/Tensor.h>

#include <memory>
#include <string>

#include "muster/collectives/communicator.h"
#include "muster/trainer/engine_options.h"
#include "piece_device.h"

namespace muster::internal {

class Accelerator {
 public:
  virtual ~Accelerator() = default;

  /// GPUs that this process sees; 0 where there is no driver.
  virtual int devices() const = 0;
  /// Loads LibTorch's CUDA library, makes the GPU the current one, and has LibTorch choose
  /// algorithms that give the same bits each time. Before any tensor is put there; once a process.
  /// Throws ConfigError where that cannot be.
  virtual void prepare(at::Device device) = 0;
  /// "NVIDIA H200, compute capability 9.0": GPUs with one name give one job's bits.
  virtual std::string name(at::Device device) const = 0;
  /// Collective. For tensors on `device`; `host` must outlive it.
  virtual std::unique_ptr<Communicator> make_communicator(Communicator& host, at::Device device,
                                                          const EngineOptions& options) = 0;
  virtual const PieceDevice& pieces(at::Device device) = 0;
};

/// nullptr in a program without muster::cuda.
Accelerator* accelerator();
/// By muster::cuda, before main().
void register_accelerator(Accelerator* accelerator);

/// Where a rank trains, by --device: "auto" takes a GPU where there is one. Ranks of a node take
/// its GPUs in turns. Throws ConfigError where a GPU is asked for and none can be had.
at::Device choose_device(const std::string& wanted, int local_rank, const Accelerator* accelerator);

/// Collective. For the engine of a module on `device`, a GPU. Throws ConfigError in a program
/// without muster::cuda.
std::unique_ptr<Communicator> communicator_on(at::Device device, Communicator& host,
                                              const EngineOptions& options);

/// Where such an engine keeps and updates its pieces.
const PieceDevice& piece_device(at::Device device, const EngineOptions& options);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_ACCELERATOR_H_
