// MPI in this process. The one header about MPI that callers see; a build without MPI has another
// source behind it.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_RUNTIME_H_
#define MUSTER_COLLECTIVES_SRC_MPI_RUNTIME_H_

#include <memory>
#include <string>
#include <vector>

#include "muster/base/rank_env.h"
#include "node_reduction.h"
#include "symmetric_memory.h"
#include "transport.h"

namespace muster::internal {

/// MPI, initialised for calls from one thread at a time.
class MpiRuntime {
 public:
  /// Collective. From the main thread. Throws ConfigError when this build has no MPI, when MPI's
  /// world is not `env.world_size` ranks, or when it cannot be called from several threads in turn.
  static std::unique_ptr<MpiRuntime> start(const RankEnv& env);

  virtual ~MpiRuntime() = default;

  /// Collective, before there is a transport. Every rank gets the `text` of every rank, each of at
  /// most 255 bytes.
  virtual std::vector<std::string> from_all_ranks(const std::string& text) = 0;

  /// Collective, before there is a transport. Which ranks can share memory.
  virtual NodeLayout layout() = 0;

  /// Collective. Once, this or the next; it must not outlive this object.
  virtual std::unique_ptr<Transport> make_transport() = 0;

  /// Collective. `group` are the ranks of this rank's node, in ascending order.
  virtual std::unique_ptr<Transport> make_nodes_transport(NodeLayout layout, NodeGroup group) = 0;

  /// Collective. Ends MPI in this process. Only after all ranks agreed to leave: it waits for all
  /// of them, dead or not.
  virtual void finalize() = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_RUNTIME_H_
