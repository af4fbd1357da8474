// muster-doctor-measure: what `muster doctor` runs to hear of this build's libraries (--build) and,
// under muster run or mpirun, of what ranks can do together. Prints one line of JSON.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "build_facts.h"
#include "measure.h"
#include "muster/base/error.h"
#include "muster/base/options.h"
#include "muster/base/rank_env.h"

namespace muster::doctor {
namespace {

constexpr std::chrono::seconds kLimitOfOperation{60};
constexpr std::int64_t kFewestBytes = 4096;

int run(int argc, char** argv) {
  bool build = false;
  std::int64_t bytes = std::int64_t{64} << 20;
  OptionSet options("muster-doctor-measure",
                    "Measures ranks for `muster doctor`: start it with muster run or mpirun");
  options.add("build", &build, "say what this build's programs load, and leave");
  options.add("bytes", &bytes, "size of the largest all-reduce");
  if (options.parse(argc, argv) == OptionSet::Outcome::kHelp) {
    std::printf("%s", options.help().c_str());
    return 0;
  }
  if (build) {
    std::printf("%s\n", build_facts().dump().c_str());
    return 0;
  }
  if (bytes < kFewestBytes || bytes % 4 != 0) {
    throw ConfigError("--bytes: expected a multiple of 4, of at least " +
                      std::to_string(kFewestBytes) + ", found " + std::to_string(bytes) +
                      "; correct it");
  }
  const RankEnv env = RankEnv::from_environment();
  World world = World::create(env, {.transport = "auto", .timeout = kLimitOfOperation});
  const Json result = measure(world, bytes);
  if (env.rank == 0) std::printf("%s\n", result.dump().c_str());
  std::fflush(stdout);
  return 0;
}

}  // namespace
}  // namespace muster::doctor

int main(int argc, char** argv) {
  try {
    return muster::doctor::run(argc, argv);
  } catch (const muster::Error& e) {
    std::fprintf(stderr, "%s: %s\n", e.kind(), e.what());
    std::fflush(nullptr);
    // MPI's own exit handlers may wait for ever for a rank that is dead (collectives/world.h).
    std::_Exit(static_cast<int>(e.exit_code()));
  }
}
