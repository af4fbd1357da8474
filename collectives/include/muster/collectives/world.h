// Joining the other ranks: from the environment to a communicator.
#ifndef MUSTER_COLLECTIVES_WORLD_H_
#define MUSTER_COLLECTIVES_WORLD_H_

#include <chrono>
#include <memory>
#include <string>

#include "muster/base/rank_env.h"
#include "muster/collectives/communicator.h"

namespace muster {

struct WorldOptions {
  /// "auto": shared memory when all ranks are on one node; MPI when each is alone on its node; else
  /// both, the one within nodes and the other between them. "shm" and "mpi" insist.
  std::string transport = "auto";
  /// How long an operation may take before its wait() throws Timeout.
  std::chrono::milliseconds timeout = std::chrono::minutes(5);
};

/// This process's membership of a world. One at a time in a process.
class World {
 public:
  /// Collective. Joins the other ranks: through the launcher's memory under `muster run`, through
  /// MPI under mpirun, as the only rank otherwise. Blocks until all have joined. Call it from the
  /// main thread, and destroy the result there. With env.replaces_lost_rank: joins the next
  /// generation of a world that goes on, once its ranks call Communicator::replace(). Throws
  /// ConfigError when `transport` is unknown or cannot serve these ranks, when MPI is needed and
  /// this build has none, or when MPI and the environment disagree about the world size; Timeout or
  /// PeerLost when others do not come. While the world of a rank of mpirun lives, so must mpirun's
  /// process on this node: within a second of its end the rank is killed.
  static World create(const RankEnv& env, const WorldOptions& options);

  World(World&&) noexcept;
  World& operator=(World&&) noexcept;
  /// Leaves in an orderly way: later operations of other ranks throw PeerLost. After a failure
  /// under MPI the process must then end by std::_Exit, since MPI's own exit handlers may wait for
  /// the dead rank.
  ~World();

  Communicator& communicator();
  const RankEnv& env() const;
  /// What carries the data: "single", "shm", "mpi" or, where it is both, "nodes".
  const std::string& transport() const;

 private:
  struct Membership;
  explicit World(std::unique_ptr<Membership> membership);
  std::unique_ptr<Membership> membership_;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_WORLD_H_
