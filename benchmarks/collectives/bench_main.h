// From the command line of a benchmark of collectives to its exit code.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_BENCH_MAIN_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_BENCH_MAIN_H_

#include <functional>
#include <string>

#include "bench_options.h"
#include "muster/base/rank_env.h"
#include "report.h"

namespace muster::bench {

/// What differs between the libraries' programs.
struct Program {
  std::string name;
  std::string description;
  bool starts_ranks = false;    ///< Without a launcher it forks ranks of its own.
  bool under_launcher = false;  ///< It can join ranks that a launcher started.

  /// One rank's measurement: joins the others, calls run_suite and returns what that returns.
  /// `report` is null on all ranks but 0.
  std::function<int(const RankEnv& env, const BenchOptions& options, const BenchPlan& plan,
                    Report* report)>
      be_rank;
  /// Collective; under a launcher only. Returns or throws Error once all ranks have come, or some
  /// do not.
  std::function<void(const RankEnv& env)> meet = nullptr;
};

/// Exit codes are ExitCode's: 64 for wrong use, 70 when a result had wrong elements.
int bench_main(int argc, const char* const* argv, const Program& program);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_BENCH_MAIN_H_
