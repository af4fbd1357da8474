// The measurement itself: what is run how often beside what, and how results are checked.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_SUITE_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_SUITE_H_

#include "bare_loop.h"
#include "bench_options.h"
#include "library.h"
#include "report.h"

namespace muster::bench {

/// Collective. For each size: every case is checked on exact patterns, warmed up, timed in turns
/// with the others, and checked again. A batch of runs begins after a barrier and one run that does
/// not count, and takes as long as on the slowest rank. Timed runs work on zeros, since sums in
/// place would grow without end.
///
/// Writes to `report` where there is one (rank 0). `bare` may be null. Cases that the library does
/// not have are noted and left out. Returns the number of rows with wrong elements; throws
/// ConfigError when no case is left.
int run_suite(Library& library, const BenchPlan& plan, BareLoop* bare, Report* report);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_SUITE_H_
