// How ranks that MPI connects go on without those that died: by ULFM, User Level Failure
// Mitigation, which Open MPI 5 has under `mpirun --with-ft ulfm`.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_

#include <vector>

#include "mpi/mpi_peers.h"
#include "transport.h"

namespace muster::internal {

/// Only those that died are out: MPI cannot go on without a rank that lives, and waits for it
/// without a deadline. So the ranks first tell each other that they have come, by messages, which
/// do have one.
class MpiRegroup {
 public:
  MpiRegroup(const MpiLink& link, MpiPeers& peers);
  MpiRegroup(const MpiRegroup&) = delete;
  MpiRegroup& operator=(const MpiRegroup&) = delete;

  struct Remnant {
    MpiLink link;
    std::vector<int> ranks;  ///< In the old communicator, ascending.
  };

  /// Collective over the ranks that live, all of which have given up. Throws Timeout naming those
  /// that did not come within run.timeout(), after which all may call it again; ConfigError where
  /// MPI cannot do it, or new processes are wanted.
  Remnant agree(const OperationRun& run, Regrouping how);

 private:
  // What a rank has said so far. It is there when it came once more than it went.
  struct Presence {
    int came = 0;
    int went = 0;
  };

  void check_can_shrink(const OperationRun& run, Regrouping how) const;
  void meet(const OperationRun& run);
  std::vector<int> missing_ranks();
  [[noreturn]] void throw_timeout(const OperationRun& run, const std::vector<int>& missing,
                                  const std::vector<Presence>& before);
  void say(int tag);
  void listen(int rank);
  Remnant shrink(const OperationRun& run);
  std::vector<int> ranks_in(MPI_Comm part) const;

  const MpiLink& link_;
  MpiPeers& peers_;
  std::vector<Presence> presences_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_
