// What a run is made of, and where it goes on from.
#include <torch/nn/module.h>

#include <filesystem>
#include <utility>

#include "accelerator.h"
#include "initial_weights.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/log.h"
#include "muster/checkpoint/import.h"
#include "numerics.h"
#include "run_directory.h"
#include "run_together.h"
#include "seeding.h"
#include "text_exchange.h"
#include "training_parts.h"
#include "training_run.h"
#include "user_code.h"

namespace muster {

using internal::call_user_code;

namespace {

std::chrono::duration<double> trained_seconds(const Json& run_state) {
  const Json circumstances = run_state.value("circumstances", Json::object());
  return std::chrono::duration<double>(circumstances.value("trained_seconds", 0.0));
}

}  // namespace

TrainingRun::TrainingRun(Trainer& trainer, World& world, const OptionSet& option_set,
                         ControlChannel* control)
    : trainer_(trainer),
      world_(world),
      communicator_(world.communicator()),
      options_(trainer.options),
      control_(control),
      job_(internal::job_definition(option_set)),
      other_options_(internal::circumstance_options(option_set)),
      stop_request_(control),
      progress_report_(control, world.env().rank, options_.log_every) {
  choose_device();
  check_numerics();
  const LogicalRange run = assign_logical_ranks(
      static_cast<int>(options_.logical_ranks),
      communicator_.world_size())[static_cast<std::size_t>(communicator_.rank())];
  internal::run_together(communicator_, [&] {
    model_ = internal::build_model(trainer_);
    loader_ = internal::make_loader(trainer_, run);
    test_dataset_ = call_user_code("test_dataset()", [&] { return trainer_.test_dataset(); });
    validation_dataset_ =
        call_user_code("validation_dataset()", [&] { return trainer_.validation_dataset(); });
  });
  internal::run_alike(communicator_, [&] {
    engine_ =
        std::make_unique<Engine>(*model_, communicator_, internal::engine_options_of(trainer_));
  });
  check_data();
  internal::run_alike(communicator_, [&] { make_limits(); });
  restore();
  trainer_.engine_ = engine_.get();
}

TrainingRun::~TrainingRun() { trainer_.engine_ = nullptr; }

void TrainingRun::choose_device() {
  internal::Accelerator* const accelerator = internal::accelerator();
  internal::run_together(communicator_, [&] {
    trainer_.device_ =
        internal::choose_device(options_.device, world_.env().local_rank, accelerator);
    if (trainer_.device_.is_cuda()) accelerator->prepare(trainer_.device_);
  });
  numerics_ = internal::numerics_fingerprint();
  // Nothing for a CPU, which is in there.
  if (trainer_.device_.is_cuda()) numerics_["gpu"] = accelerator->name(trainer_.device_);
}

void TrainingRun::make_limits() {
  const std::int64_t steps =
      options_.steps > 0 ? options_.steps : options_.epochs * loader_->steps_per_epoch();
  limits_ = internal::RunLimits(steps, options_.tokens, options_.minutes);
  schedule_ = options_.learning_rate_schedule(steps);
  if (!limits_.steps && !schedule_.endless()) {
    throw ConfigError(
        "--schedule: expected constant, step or exponential where neither --steps nor "
        "--epochs says how long training is, found '" +
        options_.schedule + "'; give --steps or --epochs beside the other limit");
  }
  if (options_.score.empty()) return;
  internal::ScoreRule rule = internal::parse_score(options_.score);
  rule.patience = options_.patience;
  rule.min_delta = options_.min_delta;
  score_watch_.emplace(std::move(rule));
  if (test_dataset_ || validation_dataset_) return;
  throw ConfigError(
      "--score: expected data to evaluate on, found none; return some from validation_dataset() or "
      "test_dataset()");
}

void TrainingRun::check_numerics() {
  const std::vector<std::string> all =
      internal::gather_texts(communicator_, Json{{"job", job_}, {"numerics", numerics_}}.dump());
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    const Json first = parse_json(all[0], "rank 0");
    const Json other = parse_json(all[rank], "rank " + std::to_string(rank));
    std::string text;
    for (const char* part : {"job", "numerics"}) {
      for (const std::string& line : internal::differences(first.at(part), other.at(part)))
        text += "; " + line;
    }
    throw Mismatch("rank " + std::to_string(rank) + " differs from rank 0" + text +
                   "; give every rank the same options, machine class and libraries");
  }
}

void TrainingRun::check_data() {
  train_samples_ = loader_->plan().samples;
  const std::vector<std::string> all =
      internal::gather_texts(communicator_, std::to_string(train_samples_));
  for (std::size_t rank = 1; rank < all.size(); ++rank) {
    if (all[rank] == all[0]) continue;
    throw Mismatch("train_dataset(): expected the same samples on every rank, found " + all[0] +
                   " on rank 0 and " + all[rank] + " on rank " + std::to_string(rank) +
                   "; give every rank the same data");
  }
}

// What a run began with is told in all its checkpoints, and not read again by its resumes.
void TrainingRun::begin_anew() {
  if (options_.init_from.empty()) return;
  const auto files = make_system_env();
  const std::string path =
      internal::find_initial_weights(communicator_, options_.init_from, *files);
  internal::run_together(communicator_, [&] {
    internal::load_initial_weights(*engine_, path, options_.allow_missing, *files);
  });
  engine_->state_changed();
  init_from_ = path;
  if (world_.env().rank == 0) MUSTER_LOG(INFO) << "training begins with " << path;
}

void TrainingRun::restore() {
  bool resumed = false;
  if (!options_.checkpoint_dir.empty()) {
    const std::filesystem::path directory = options_.run_directory();
    checkpoint::Retention retention{.keep_last = static_cast<int>(options_.keep_checkpoints),
                                    .keep_every = options_.keep_every,
                                    .keep_best = static_cast<int>(options_.keep_best)};
    if (score_watch_) {
      retention.metric = score_watch_->metric();
      retention.larger_is_better = score_watch_->rule().larger_is_better;
    }
    internal::SaveOptions save_options{.retention = retention,
                                       .failures_allowed = options_.checkpoint_failures,
                                       .fresh = options_.fresh,
                                       .snapshots = options_.snapshot_every > 0,
                                       .upload_url = options_.upload_url()};
    if (options_.checkpoint_staging_mib > 0)
      save_options.most_staging_bytes = options_.checkpoint_staging_mib << 20;
    saver_.emplace(
        directory, world_.env(), communicator_, save_options,
        [this](std::int64_t step, const std::filesystem::path& path) { committed(step, path); });
    read_finished();
    const auto state =
        saver_->restore(*engine_, [this](const Json& run_state, const std::string& origin) {
          internal::run_alike(communicator_, [&] { check_resumable(run_state, origin); });
        });
    resumed = state.has_value();
    if (state) go_on_from(*state);
    if (world_.env().rank == 0) {
      metrics_log_.emplace(directory / "metrics.jsonl", progress_.step);
      internal::write_file(directory / internal::kJobFile, job_);
    }
  }
  if (!resumed) begin_anew();
  ended_ = end_reached(limits_.time_is_up(trained_before_));
  trainer_.step_ = progress_.step;
  progress_report_.resumed(progress_.step);
}

// Rank 0's word counts.
void TrainingRun::read_finished() {
  std::string step = "-1";
  internal::run_together(communicator_, [&] {
    if (world_.env().rank != 0) return;
    const auto files = make_system_env();
    const std::filesystem::path path = options_.run_directory() / internal::kFinishedFile;
    if (!files->exists(path)) return;
    const Json finished = parse_json(files->read_text(path), path.string());
    step = std::to_string(json_field<std::int64_t>(finished, "step", path.string()));
  });
  finished_step_ = std::stoll(internal::broadcast_text(communicator_, step));
}

void TrainingRun::go_on_from(const Json& run_state) {
  const std::string origin = options_.run_directory().string();
  progress_ = internal::JobProgress::from_json(run_state.at("progress"), origin);
  engine_->resume(progress_.step, progress_.loss_scale);
  loader_->restore({progress_.epoch, progress_.position});
  const std::string user_state = run_state.at("progress").value("user_state", "");
  if (!user_state.empty()) call_user_code("load_state()", [&] { trainer_.load_state(user_state); });
  trained_before_ = trained_seconds(run_state);
  metrics_ = run_state.value("metrics", Json::object());
  evaluated_step_ = run_state.value("evaluated_step", Json());
  init_from_ = run_state.value("init_from", Json());
  const Json score = run_state.value("score", Json());
  const bool same_score = score_watch_ && score.is_object() && score_watch_->restore(score, origin);
  if (world_.env().rank != 0) return;
  warn_of_another_schedule(run_state);
  if (same_score) tell_best(score);
  if (saver_->restored_snapshot()) {
    MUSTER_LOG(INFO) << "resumed from snapshot of step " << progress_.step
                     << ", which muster run held in memory";
  } else {
    MUSTER_LOG(INFO) << "resumed at step " << progress_.step << " from " << origin;
  }
}

void TrainingRun::check_resumable(const Json& run_state, const std::string& origin) {
  if (run_state.contains(checkpoint::kImportedField)) {
    throw ConfigError(origin +
                      ": expected the checkpoint of a run, found an imported model; give it with "
                      "--init-from, beside another --checkpoint-dir");
  }
  const auto refuse = [&](const char* part, const Json& ours, const char* advice) {
    const Json theirs = run_state.value(part, Json::object());
    const std::vector<std::string> lines = internal::differences(theirs, ours);
    if (lines.empty()) return;
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
    throw ConfigError(origin + ": the checkpoint was written by a run with another " + part + ": " +
                      text + "; " + advice);
  };
  if (run_state.value("train_samples", train_samples_) != train_samples_) {
    throw ConfigError(origin + ": expected the " + run_state.at("train_samples").dump() +
                      " training samples that the run has had so far, found " +
                      std::to_string(train_samples_) +
                      "; their order would be another one: give the same data, or begin a new run "
                      "with --init-from");
  }
  refuse("job", job_,
         "give the same options, another --run or --checkpoint-dir, or --fresh to start over");
  if (!options_.allow_other_numerics) {
    refuse("numerics", numerics_,
           "the bits would differ: resume on the same class of machine, or pass "
           "--allow-other-numerics");
  }
  if (!options_.run.empty() && world_.env().generation == 0) refuse_finished(run_state, origin);
}

void TrainingRun::warn_of_another_schedule(const Json& run_state) const {
  const std::int64_t steps = limits_.steps.value_or(0);
  const Json circumstances = run_state.value("circumstances", Json::object());
  const std::int64_t before = circumstances.value("schedule_steps", steps);
  if (before == steps || schedule_.endless()) return;
  MUSTER_LOG(WARNING) << "--schedule " << options_.schedule << " was planned over " << before
                      << " steps so far, and is over " << steps
                      << " from here on: learning rates jump, and are not those of a run that had "
                      << steps << " from its start";
}

// A run whose last step is made may well have test() or on_finished() left to do.
void TrainingRun::refuse_finished(const Json& run_state, const std::string& origin) const {
  const auto progress = internal::JobProgress::from_json(run_state.at("progress"), origin);
  std::string reached = limits_.reached(progress, limits_.time_is_up(trained_seconds(run_state)));
  if (reached.empty() && score_watch_ && run_state.contains("score")) {
    internal::ScoreWatch watch(score_watch_->rule());
    if (watch.restore(run_state.at("score"), origin) && watch.exhausted())
      reached = "no patience left";
  }
  if (reached.empty() || progress.step != finished_step_) return;
  throw ConfigError("--run: expected a run that can go on, found that '" + options_.run +
                    "' is finished (" + reached +
                    "); raise its limit, choose another name, or give --fresh to start over");
}

}  // namespace muster
