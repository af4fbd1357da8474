// Who this process is: rank, world size, generation and who started it, read from the environment.
#ifndef MUSTER_BASE_RANK_ENV_H_
#define MUSTER_BASE_RANK_ENV_H_

#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace muster {

/// Who started this process.
enum class LaunchedBy {
  kNobody,  ///< A shell: a world of one rank.
  kMuster,  ///< `muster run`.
  kMpi,     ///< Open MPI's `mpirun`, or Slurm's `srun --mpi=pmix`.
};

/// A rank's place in the world. The launcher writes it with to_environment(), the rank reads it
/// back.
struct RankEnv {
  LaunchedBy launched_by = LaunchedBy::kNobody;
  int rank = 0;
  int world_size = 1;
  int local_rank = 0;
  int local_world_size = 1;
  int node_rank = 0;
  int generation = 0;
  int node_memory_fd = -1;  ///< Of NodeMemory; under `muster run` only.
  int control_fd = -1;      ///< Of ControlChannel; under `muster run` only.
  int snapshot_fd = -1;     ///< Of the checkpoints' SnapshotMemory; under `muster run` only.
  /// This process takes the place of a lost rank: it joins once the others call
  /// Communicator::replace().
  bool replaces_lost_rank = false;
  std::string run_id;  ///< Of the launcher; under MPI the name of the job's PMIx namespace.
  std::string flight_directory;  ///< Of FlightRecorder; "": operations are not recorded.

  using Lookup = std::function<std::optional<std::string>(const std::string& name)>;
  /// Reads MUSTER_* (see to_environment), else OMPI_COMM_WORLD_*, else SLURM_* in a step of several
  /// tasks, else a world of one. Throws ConfigError when a variable is no number, rank or world
  /// size is missing beside the other, the numbers contradict each other, or srun started several
  /// tasks without PMIx (srun --mpi=pmix), so that they could not find each other.
  /// MUSTER_FLIGHT_DIR counts in each case.
  static RankEnv from_environment(const Lookup& lookup);
  /// The same, from this process's own environment.
  static RankEnv from_environment();
  /// The MUSTER_* variables that make from_environment() return this.
  std::vector<std::pair<std::string, std::string>> to_environment() const;
  /// "rank 1/4 gen 0".
  std::string description() const;
};

}  // namespace muster

#endif  // MUSTER_BASE_RANK_ENV_H_
