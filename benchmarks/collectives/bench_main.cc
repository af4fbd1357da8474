// Who starts the ranks, who speaks, and what is returned.
#include "bench_main.h"

#include <ATen/Parallel.h>

#include <cstdio>
#include <cstdlib>
#include <memory>

#include "muster/base/error.h"
#include "muster/base/log.h"
#include "own_ranks.h"

namespace muster::bench {
namespace {

void speak(const RankEnv& env, const std::string& kind, const std::string& message) {
  const std::string who = env.launched_by == LaunchedBy::kNobody ? "" : env.description() + ": ";
  std::fprintf(stderr, "muster: %s%s: %s\n", who.c_str(), kind.c_str(), message.c_str());
  std::fflush(stderr);
}

// The body of one rank: its errors become exit codes.
int run_rank(const Program& program, const RankEnv& env, const BenchOptions& options,
             const BenchPlan& plan) {
  try {
    at::set_num_threads(1);
    init_logging(program.name, env.description(), LogLevel::WARNING);
    std::unique_ptr<Report> report;
    if (env.rank == 0) report = std::make_unique<Report>(options.json);
    const int wrong_rows = program.be_rank(env, options, plan, report.get());
    if (wrong_rows == 0) return static_cast<int>(ExitCode::kSuccess);
    if (report) {
      speak(env, "InternalError",
            "expected exact results in every row, found wrong elements in " +
                std::to_string(wrong_rows) + "; see the last column");
    }
    return static_cast<int>(ExitCode::kInternalError);
  } catch (const Error& e) {
    speak(env, e.kind(), e.what());
    return static_cast<int>(e.exit_code());
  } catch (const std::exception& e) {
    speak(env, "InternalError", e.what());
    return static_cast<int>(ExitCode::kInternalError);
  }
}

int run_all_ranks(const Program& program, const BenchOptions& options, const BenchPlan& plan) {
  for (const int world_size : plan.ranks) {
    const int exit_code = run_own_ranks(
        world_size, [&](const RankEnv& env) { return run_rank(program, env, options, plan); });
    if (exit_code != 0) return exit_code;
  }
  return 0;
}

void check_launcher(const Program& program, const RankEnv& env, const OptionSet& set) {
  const bool launched = env.launched_by != LaunchedBy::kNobody;
  if (launched && !program.under_launcher) {
    throw ConfigError(program.name +
                      ": expected to be started without a launcher, found one; use " +
                      program.name + " --ranks N");
  }
  if (!launched && !program.starts_ranks) {
    throw ConfigError(program.name + ": expected a launcher, found none; use mpirun -n N " +
                      program.name);
  }
  if (launched && set.was_given("ranks")) {
    throw ConfigError(
        "--ranks: expected no such option under a launcher, which decides how many "
        "there are, found it; leave it out");
  }
}

// Wrong on every rank alike, so rank 0 speaks for all. The others wait until it has: launchers end
// the whole job when the first rank leaves.
int fail_together(const Program& program, const RankEnv& env, const Error& error) {
  const auto exit_code = static_cast<int>(error.exit_code());
  if (env.rank == 0) speak(env, error.kind(), error.what());
  if (env.launched_by == LaunchedBy::kNobody || !program.meet) return exit_code;
  try {
    program.meet(env);
  } catch (const Error&) {
    if (env.rank != 0) speak(env, error.kind(), error.what());
  }
  return exit_code;
}

int run_program(int argc, const char* const* argv, const Program& program, RankEnv& env) {
  BenchOptions options;
  BenchPlan plan;
  try {
    env = RankEnv::from_environment();
    OptionSet set(program.name, program.description);
    options.bind(set);
    if (set.parse(argc, argv) == OptionSet::Outcome::kHelp) {
      if (env.rank == 0) std::printf("%s", set.help().c_str());
      return 0;
    }
    check_launcher(program, env, set);
    plan = make_plan(options);
    if (env.rank == 0) empty_json_file(options.json);
  } catch (const Error& e) {
    return fail_together(program, env, e);
  }
  if (env.launched_by == LaunchedBy::kNobody) return run_all_ranks(program, options, plan);
  return run_rank(program, env, options, plan);
}

}  // namespace

int bench_main(int argc, const char* const* argv, const Program& program) {
  RankEnv env;
  const int exit_code = run_program(argc, argv, program, env);
  if (exit_code != 0 && env.launched_by == LaunchedBy::kMpi) {
    // MPI's own exit handlers may wait for ever for a rank that is dead (collectives/world.h).
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }
  return exit_code;
}

}  // namespace muster::bench
