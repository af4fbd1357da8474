// Operations on CUDA tensors through NCCL. In the library muster::collectives_cuda, which is built
// where CUDA and NCCL are found.
#ifndef MUSTER_COLLECTIVES_NCCL_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_NCCL_COMMUNICATOR_H_

#include <chrono>
#include <memory>

#include "muster/collectives/communicator.h"

namespace muster {

struct NcclOptions {
  int device = 0;  ///< This rank's GPU; no two ranks may share one.
  /// For joining, and for each operation from the moment it was issued.
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
};

/// Collective over `bootstrap`, whose ranks become this communicator's; it carries NCCL's unique id
/// and is not needed afterwards. Tensors are contiguous and on `options.device`.
///
/// An operation waits for what the caller's current CUDA stream holds when it is issued, and runs
/// on a stream of its own. Work::wait() blocks the calling thread until the result is in the
/// tensor, so any stream may use it then. The canonical forms sum in tree order, the same bits as
/// on the CPU; all_reduce, reduce and reduce_scatter combine in NCCL's own order and in the
/// tensor's own precision (kMin and kMax may drop a NaN), and throw ConfigError for int16, bool and
/// bits. Calls that do not fit each other end as Timeout: NCCL cannot tell. After a PeerLost or
/// Timeout NCCL is aborted and the communicator stays failed. Throws ConfigError when the device is
/// not there, Timeout when a rank does not come.
std::unique_ptr<Communicator> make_nccl_communicator(Communicator& bootstrap,
                                                     const NcclOptions& options);

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_NCCL_COMMUNICATOR_H_
