// Operations on CUDA tensors. In the library muster::collectives_cuda, which is built where CUDA
// and NCCL are found.
#ifndef MUSTER_COLLECTIVES_CUDA_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_CUDA_COMMUNICATOR_H_

#include <chrono>
#include <memory>
#include <optional>
#include <string>

#include "muster/collectives/communicator.h"

namespace muster {

struct CudaOptions {
  int device = 0;  ///< This rank's GPU. Several ranks may share one.
  /// What carries the data; "auto" takes the first that can, and logs which and why.
  /// - "nccl": every rank has a GPU of its own.
  /// - "cuda_ipc": the GPUs of all ranks, of one node, reach each other's memory.
  /// - "host": through pinned host memory and what carries host tensors. Always possible.
  std::string transport = "auto";
  /// With "nccl" all_reduce, reduce and reduce_scatter combine in NCCL's own order and in the
  /// tensor's own precision: a little faster, and bits that depend on the world (kMin and kMax may
  /// drop a NaN). The canonical forms never do.
  bool fast = false;
  /// For joining, and for each operation; without one it is that of `host`.
  std::optional<std::chrono::milliseconds> timeout = {};
};

/// Collective over `host`, a communicator of a World's, whose ranks become the result's and which
/// must outlive it. Blocks. Tensors are contiguous and on `options.device`; the contract is
/// Communicator's, with the same bits as on the CPU.
///
/// An operation waits for what the caller's current CUDA stream holds when it is issued, and runs
/// on streams of its own. Work::wait() blocks the calling thread until the result is in the tensor,
/// so any stream may use it then. Ranks meet over `host`, which notices deaths, and different
/// calls, before a GPU is given work. allocate_symmetric() gives memory of the GPU; with "cuda_ipc"
/// tensors in it need no staging copy. send() and recv() go by way of the host. shrink() works
/// where it does on `host`; after a replace() of `host` make another communicator.
///
/// Throws ConfigError, on all ranks, when a GPU is missing or the transport cannot serve them;
/// Timeout or PeerLost when a rank does not come.
std::unique_ptr<Communicator> make_cuda_communicator(Communicator& host,
                                                     const CudaOptions& options);

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_CUDA_COMMUNICATOR_H_
