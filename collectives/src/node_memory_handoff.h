// Passing a node memory's descriptor to the other ranks of the node where no launcher does: under
// mpirun.
#ifndef MUSTER_COLLECTIVES_SRC_NODE_MEMORY_HANDOFF_H_
#define MUSTER_COLLECTIVES_SRC_NODE_MEMORY_HANDOFF_H_

#include <chrono>
#include <string>

namespace muster::internal {

/// A listening socket in the abstract namespace (no file, gone with the process) under a name
/// nobody can guess.
class DescriptorServer {
 public:
  DescriptorServer();
  ~DescriptorServer();
  DescriptorServer(const DescriptorServer&) = delete;
  DescriptorServer& operator=(const DescriptorServer&) = delete;

  const std::string& name() const { return name_; }

  /// Sends `fd` to `clients` processes of this user. Blocks; throws Timeout naming how many came.
  void serve(int fd, int clients, std::chrono::milliseconds timeout);

 private:
  std::string name_;
  int socket_ = -1;
};

/// The other end: connects to `name` and returns the descriptor, which the caller owns. Blocks;
/// throws Timeout, or PeerLost when the server is gone.
int receive_descriptor(const std::string& name, std::chrono::milliseconds timeout);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_NODE_MEMORY_HANDOFF_H_
