// How ranks that MPI connects go on without those that died. It takes ULFM, User Level Failure
// Mitigation, which Open MPI 5 has under `mpirun --with-ft ulfm`: then MPI lives on, and says who
// died.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_

#include <memory>
#include <vector>

#include "flood.h"
#include "mpi/mpi_peers.h"
#include "mpi/mpi_wires.h"
#include "transport.h"

namespace muster::internal {

/// Only those that died are out. The ranks first tell each other that they have come. Then they
/// agree on who has; where one of them stops in that, the others get a Timeout and this is over,
/// since it may have agreed already.
class MpiRegroup {
 public:
  MpiRegroup(const MpiLink& link, MpiPeers& peers)
      : link_(link), peers_(peers), presences_(link.ranks.size()) {}
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
  void say(MpiTag tag);
  void listen(int rank);
  // Which mailbox each rank has in the next generation; 0: none, since it died. All that are left
  // get the same.
  std::vector<int> flood(const OperationRun& run, int own_mailbox);
  void exchange(const OperationRun& run, Flood& flood);
  Remnant join_known(std::shared_ptr<const Mailbox> own, const std::vector<int>& known) const;

  const MpiLink& link_;
  MpiPeers& peers_;
  bool gave_up_ = false;  // in the middle of an agreement
  std::vector<Presence> presences_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_REGROUP_H_
