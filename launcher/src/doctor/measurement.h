// What the ranks of muster-doctor-measure found out together.
#ifndef MUSTER_LAUNCHER_DOCTOR_MEASUREMENT_H_
#define MUSTER_LAUNCHER_DOCTOR_MEASUREMENT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/json.h"

namespace muster::launcher::doctor {

struct RankMeasurement {
  int rank = 0;
  std::string host;
  double cpu_share = 1;              ///< Of a core, while all ranks compute.
  double copy_bytes_per_second = 0;  ///< Of memory, while all ranks copy.
  std::int64_t memory_bytes = 0;     ///< The most that the process had resident.
};

struct AllReduceTime {
  std::int64_t bytes = 0;
  double seconds = 0;  ///< Median over calls, of rank 0.
  double best_seconds = 0;
};

/// A broadcast by the first rank of a host.
struct HostSpeed {
  std::string host;
  double bytes_per_second = 0;
};

struct Measurement {
  std::string error;                       ///< Why there is none; the rest is empty then.
  std::string transport;                   ///< "shm", "mpi", "single".
  double copy_alone_bytes_per_second = 0;  ///< Rank 0, while the others sleep.
  std::vector<RankMeasurement> ranks;
  std::vector<AllReduceTime> all_reduce;  ///< By size.
  std::vector<HostSpeed> broadcasts;      ///< With several hosts.
  double stolen_share = 0;             ///< Of this machine's cores, by its hypervisor, meanwhile.
  std::int64_t throttled_periods = 0;  ///< By the cgroup's quota, meanwhile.

  int hosts() const;
  /// The median over ranks.
  double copy_together_bytes_per_second() const;
};

/// What the program prints. Throws DataError.
Measurement measurement_from_json(const Json& json);
Json to_json(const Measurement& measurement);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_MEASUREMENT_H_
