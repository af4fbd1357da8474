// Running muster-doctor-measure: on ranks of this node, under mpirun, or as a rank of an mpirun.
#ifndef MUSTER_LAUNCHER_DOCTOR_MEASURE_H_
#define MUSTER_LAUNCHER_DOCTOR_MEASURE_H_

#include <cstdint>
#include <string>

#include "doctor/measurement.h"
#include "doctor/system_view.h"

namespace muster::launcher::doctor {

/// What is run, and how large its all-reduce may be.
struct MeasureProgram {
  std::string path;
  std::int64_t bytes = 0;
};

/// `muster run -n RANKS`, with this very program as muster and logs in `temporary`. Blocks for
/// seconds, or until a deadline; what goes wrong is in Measurement::error.
Measurement measure_in_node(const MeasureProgram& program, int ranks, const std::string& temporary,
                            const SystemView& view);

/// `mpirun ARGUMENTS`, read by the shell.
Measurement measure_by_mpirun(const MeasureProgram& program, const std::string& arguments,
                              const SystemView& view);

/// As the rank that this process is. Collective; only rank 0 hears what was measured.
Measurement measure_as_rank(const MeasureProgram& program, int rank, const SystemView& view);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_MEASURE_H_
