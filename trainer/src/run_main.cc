// From the command line to an exit code.
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <memory>
#include <thread>

#include "muster/base/control_messages.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "muster/trainer/main.h"
#include "numerics.h"
#include "plan_report.h"
#include "run_together.h"
#include "stop_request.h"

namespace muster::internal {
namespace {

std::string program_name(const char* path) {
  return std::filesystem::path(path).filename().string();
}

/// What is to be said of the exception that is being handled.
Failure failure_in_flight(std::int64_t step) {
  try {
    throw;
  } catch (const Error& e) {
    return {static_cast<int>(e.exit_code()), e.kind(), e.what(), step};
  } catch (const std::exception& e) {
    return {static_cast<int>(ExitCode::kUserError), "UserError", e.what(), step};
  }
}

/// A rank's last word, said once. The launcher, where there is one, says it once for all ranks;
/// else the rank itself does. Under mpirun survivors keep quiet about a lost peer: the rank that
/// failed speaks, and mpirun names one that was killed.
class LastWord {
 public:
  /// Returns the failure's exit code.
  int say(const RankEnv& env, ControlChannel* control, const Failure& failure) {
    if (said_) return failure.exit_code;
    said_ = true;
    const bool told = control != nullptr && control->send(failure);
    const bool others_speak = env.launched_by == LaunchedBy::kMpi &&
                              failure.exit_code == static_cast<int>(ExitCode::kPeerLost);
    if (!told && !others_speak) {
      std::fprintf(stderr, "muster: %s: %s: %s\n", env.description().c_str(), failure.kind.c_str(),
                   failure.message.c_str());
      std::fflush(stderr);
    }
    return failure.exit_code;
  }

 private:
  bool said_ = false;
};

/// A wrong option is wrong on every rank alike, so rank 0 speaks for all; the others wait until it
/// has, since mpirun ends the whole job when the first rank leaves. Where rank 0 does not come, the
/// option was wrong here alone.
int fail_together(const RankEnv& env, LastWord& last_word, const Failure& failure) {
  if (env.rank == 0) last_word.say(env, nullptr, failure);
  try {
    World::create(env, {.transport = "auto", .timeout = std::chrono::seconds(10)});
  } catch (const Error&) {
    last_word.say(env, nullptr, failure);
  }
  return failure.exit_code;
}

/// mpirun ends the whole job when the first rank leaves, so whoever keeps quiet stays until the
/// rank that speaks has left.
void wait_for_speaker(World& world) {
  if (world.env().launched_by != LaunchedBy::kMpi) return;
  try {
    world.communicator().barrier().wait();
  } catch (const Error&) {
  }
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
  if (trainer.options.activation_checkpointing && !trainer.offers_activation_checkpointing()) {
    throw ConfigError(
        "--activation-checkpointing: expected a program whose model offers it, found one that does "
        "not; leave the flag away, or put activation_checkpoint() around the model's blocks and "
        "override Trainer::offers_activation_checkpointing()");
  }
  if (trainer.options.snapshot_every > 0 && env.snapshot_fd < 0) {
    throw ConfigError(
        "--snapshot-every: expected muster run, which holds the memory of snapshots while ranks "
        "come and go, found that something else started this program; start it with muster run, "
        "or give --snapshot-every 0");
  }
  if (trainer.options.logical_ranks < env.world_size) {
    throw ConfigError("--logical-ranks: expected at least the world size (" +
                      std::to_string(env.world_size) + "), found " +
                      std::to_string(trainer.options.logical_ranks) +
                      "; start fewer ranks, or give more logical ranks");
  }
}

int train(const RankEnv& env, Trainer& trainer, const OptionSet& options, ControlChannel* control,
          LastWord& last_word) {
  prepare_numerics(static_cast<int>(trainer.options.threads));
  if (control == nullptr) install_stop_signals();
  WorldOptions world_options;
  world_options.transport = trainer.options.transport;
  world_options.timeout =
      std::chrono::milliseconds(static_cast<std::int64_t>(trainer.options.timeout_s * 1000));
  World world = World::create(env, world_options);
  try {
    return finish(run_training(trainer, world, options, control), control);
  } catch (const FailedElsewhere&) {
    wait_for_speaker(world);
    throw;
  } catch (const std::exception&) {
    // Before the world ends, on which the others leave.
    last_word.say(env, control, failure_in_flight(trainer.step()));
    throw;
  }
}

/// For `muster plan`: says what training would need instead of training.
int plan(Trainer& trainer, const std::string& name, const std::string& request) {
  if (trainer.options.micro_batch == 0)
    throw ConfigError("muster plan: expected a number for --micro-batch, found auto; give one");
  prepare_numerics(static_cast<int>(trainer.options.threads));
  std::printf("%s", plan_report(trainer, name, PlanRequest::from_json(request)).c_str());
  return static_cast<int>(ExitCode::kSuccess);
}

/// The whole program; returns its exit code. `env` is filled in on the way.
int run_program(int argc, const char* const* argv, const TrainerFactory& make_trainer,
                RankEnv& env) {
  std::unique_ptr<ControlChannel> control;
  std::unique_ptr<Trainer> trainer;
  LastWord last_word;
  bool options_checked = false;
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
    if (const char* request = std::getenv("MUSTER_PLAN")) return plan(*trainer, name, request);
    return train(env, *trainer, options, control.get(), last_word);
  } catch (const FailedElsewhere& e) {
    if (control)
      control->send(Failure{static_cast<int>(ExitCode::kPeerLost), "PeerLost", e.what(), 0});
    return static_cast<int>(e.exit_code());
  } catch (const std::exception&) {
    const Failure failure = failure_in_flight(trainer ? trainer->step() : 0);
    const bool under_mpi = env.launched_by == LaunchedBy::kMpi;
    if (!options_checked && under_mpi) return fail_together(env, last_word, failure);
    return last_word.say(env, control.get(), failure);
  }
}

// mpirun ends the job when a rank has failed, with the exit code of whoever left last. So those
// that merely lost the rank wait to be ended; not for ever, since mpirun may have been told to let
// survivors go on.
void wait_for_mpirun() {
  signal(SIGTERM, SIG_DFL);
  std::this_thread::sleep_for(std::chrono::seconds(2));
}

}  // namespace

int run_main(int argc, const char* const* argv, const TrainerFactory& make_trainer) {
  RankEnv env;
  const int exit_code = run_program(argc, argv, make_trainer, env);
  if (exit_code != 0 && env.launched_by == LaunchedBy::kMpi) {
    // MPI's own exit handlers may wait for ever for a rank that is dead (collectives/world.h).
    std::fflush(nullptr);
    if (exit_code == static_cast<int>(ExitCode::kPeerLost)) wait_for_mpirun();
    std::_Exit(exit_code);
  }
  return exit_code;
}

}  // namespace muster::internal
