// From the command line to an exit code.
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>

#include "muster/base/control_messages.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "muster/trainer/main.h"
#include "numerics.h"
#include "run_together.h"
#include "stop_request.h"

namespace muster::internal {
namespace {

std::string program_name(const char* path) {
  return std::filesystem::path(path).filename().string();
}

/// A rank's last word. The launcher, where there is one, says it once for all ranks; else the rank
/// itself does. Under mpirun survivors keep quiet about a lost peer: the rank that failed speaks,
/// and mpirun names one that was killed.
int report_failure(const RankEnv& env, ControlChannel* control, ExitCode code,
                   const std::string& kind, const std::string& message, std::int64_t step) {
  const int exit_code = static_cast<int>(code);
  const bool told = control != nullptr && control->send(Failure{exit_code, kind, message, step});
  const bool keep_quiet =
      told || (env.launched_by == LaunchedBy::kMpi && code == ExitCode::kPeerLost);
  if (!keep_quiet) {
    std::fprintf(stderr, "muster: %s: %s: %s\n", env.description().c_str(), kind.c_str(),
                 message.c_str());
  }
  return exit_code;
}

/// A wrong option is wrong on every rank alike, so rank 0 speaks for all; the others wait until it
/// has, since mpirun ends the whole job when the first rank leaves. Where rank 0 does not come, the
/// option was wrong here alone.
int fail_together(const RankEnv& env, const Error& error) {
  const auto speak = [&] {
    report_failure(env, nullptr, error.exit_code(), error.kind(), error.what(), 0);
    std::fflush(stderr);
  };
  if (env.rank == 0) speak();
  try {
    World::create(env, {.transport = "auto", .timeout = std::chrono::seconds(10)});
  } catch (const Error&) {
    if (env.rank != 0) speak();
  }
  return static_cast<int>(error.exit_code());
}

std::string all_problems(const std::vector<std::string>& problems) {
  std::string text;
  for (const std::string& problem : problems) text += (text.empty() ? "" : "; ") + problem;
  return text;
}

int finish(RunOutcome outcome, ControlChannel* control) {
  switch (outcome) {
    case RunOutcome::kInterrupted:
      return static_cast<int>(ExitCode::kInterrupted);
    case RunOutcome::kPreempted:
      return static_cast<int>(ExitCode::kPreempted);
    case RunOutcome::kFinished:
      break;
  }
  if (control != nullptr) control->send(Done{});
  return static_cast<int>(ExitCode::kSuccess);
}

/// What every rank finds wrong alike, before there is a world to agree in.
void check_options(const RankEnv& env, const Trainer& trainer) {
  const std::vector<std::string> problems = trainer.options.validate();
  if (!problems.empty()) throw ConfigError(all_problems(problems));
  if (trainer.options.logical_ranks < env.world_size) {
    throw ConfigError("--logical-ranks: expected at least the world size (" +
                      std::to_string(env.world_size) + "), found " +
                      std::to_string(trainer.options.logical_ranks) +
                      "; start fewer ranks, or give more logical ranks");
  }
}

int train(const RankEnv& env, Trainer& trainer, const OptionSet& options, ControlChannel* control) {
  prepare_numerics(static_cast<int>(trainer.options.threads));
  if (control == nullptr) install_stop_signals();
  WorldOptions world_options;
  world_options.transport = trainer.options.transport;
  world_options.timeout =
      std::chrono::milliseconds(static_cast<std::int64_t>(trainer.options.timeout_s * 1000));
  World world = World::create(env, world_options);
  return finish(run_training(trainer, world, options, control), control);
}

}  // namespace

namespace {

/// The whole program; returns its exit code. `env` is filled in on the way.
int run_program(int argc, const char* const* argv, const TrainerFactory& make_trainer,
                RankEnv& env) {
  std::unique_ptr<ControlChannel> control;
  std::unique_ptr<Trainer> trainer;
  bool options_checked = false;
  const auto fail = [&](ExitCode code, const std::string& kind, const std::string& message) {
    return report_failure(env, control.get(), code, kind, message, trainer ? trainer->step() : 0);
  };
  try {
    env = RankEnv::from_environment();
    if (env.control_fd >= 0) {
      control = std::make_unique<ControlChannel>(env.control_fd);
      control->send(Hello{getpid()});
    }
    trainer = make_trainer();
    const std::string name = argc > 0 ? program_name(argv[0]) : "muster";
    OptionSet options(name,
                      "Trains on any number of ranks: muster run -n N -- " + name + " [OPTIONS]\n");
    trainer->options.bind(options);
    options.group(name);
    trainer->add_options(options);
    if (options.parse(argc, argv) == OptionSet::Outcome::kHelp) {
      if (env.rank == 0) std::printf("%s", options.help().c_str());
      return finish(RunOutcome::kFinished, control.get());
    }
    init_logging(name, env.launched_by == LaunchedBy::kNobody ? "" : env.description());
    check_options(env, *trainer);
    options_checked = true;
    return train(env, *trainer, options, control.get());
  } catch (const FailedElsewhere& e) {
    if (control)
      control->send(Failure{static_cast<int>(ExitCode::kPeerLost), "PeerLost", e.what(), 0});
    return static_cast<int>(e.exit_code());
  } catch (const Error& e) {
    if (!options_checked && env.launched_by == LaunchedBy::kMpi) return fail_together(env, e);
    return fail(e.exit_code(), e.kind(), e.what());
  } catch (const std::exception& e) {
    return fail(ExitCode::kUserError, "UserError", e.what());
  }
}

}  // namespace

int run_main(int argc, const char* const* argv, const TrainerFactory& make_trainer) {
  RankEnv env;
  const int exit_code = run_program(argc, argv, make_trainer, env);
  if (exit_code != 0 && env.launched_by == LaunchedBy::kMpi) {
    // MPI's own exit handlers may wait for ever for a rank that is dead (collectives/world.h).
    std::fflush(nullptr);
    std::_Exit(exit_code);
  }
  return exit_code;
}

}  // namespace muster::internal
