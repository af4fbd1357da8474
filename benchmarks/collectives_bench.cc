// Measures Muster's collectives in the manner of nccl-tests; docs/benchmarks.md says how to read
// its table.
#include <chrono>
#include <memory>

#include "bare_loop.h"
#include "bench_main.h"
#include "muster/collectives/world.h"
#include "muster_library.h"
#include "suite.h"

namespace muster::bench {
namespace {

constexpr const char* kDescription =
    "Measures Muster's collectives, checks every result, and prints for each size the median time\n"
    "of the slowest rank, algorithm bandwidth (bytes / time) and bus bandwidth (that times\n"
    "nccl-tests' factor of the operation).\n"
    "  collectives_bench --ranks 2,4\n"
    "  muster run -n 2 -- collectives_bench\n"
    "  mpirun -n 2 collectives_bench --transport mpi\n";

int be_rank(const RankEnv& env, const BenchOptions& options, const BenchPlan& plan,
            Report* report) {
  const std::chrono::milliseconds timeout(static_cast<std::int64_t>(options.timeout_s * 1000));
  World world = World::create(env, {.transport = options.transport, .timeout = timeout});
  MusterLibrary library(world);
  if (report != nullptr) {
    report->note(std::to_string(env.world_size) + " ranks, transport " + world.transport());
  }
  std::unique_ptr<BareLoop> bare;
  if (plan.bare_loop && env.local_world_size == env.world_size) {
    bare = std::make_unique<BareLoop>(library, plan.sizes_bytes.back(), timeout);
  } else if (plan.bare_loop && report != nullptr) {
    report->note("no bare loop: it needs all ranks on one node");
  }
  return run_suite(library, plan, bare.get(), report);
}

void meet(const RankEnv& env) {
  World::create(env, {.transport = "auto", .timeout = std::chrono::seconds(10)});
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster::bench;
  return bench_main(argc, argv,
                    {.name = "collectives_bench",
                     .description = kDescription,
                     .starts_ranks = true,
                     .under_launcher = true,
                     .be_rank = be_rank,
                     .meet = meet});
}
