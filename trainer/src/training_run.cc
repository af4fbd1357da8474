// The training loop and what it joins.
#include "training_run.h"

#include <ATen/ops/zeros.h>
#include <c10/util/Exception.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <utility>

#include "evaluation.h"
#include "metric_exchange.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/hash.h"
#include "muster/base/log.h"
#include "muster/base/version.h"
#include "numerics.h"
#include "run_together.h"
#include "seeding.h"
#include "text_exchange.h"

namespace muster {
namespace {

/// Runs a piece of the user's code; what it throws (our own errors aside) becomes a UserError that
/// says where it happened.
template <typename F>
auto call_user_code(const std::string& where, F&& code) -> decltype(code()) {
  try {
    return code();
  } catch (const Error&) {
    throw;
  } catch (const c10::Error& e) {
    throw UserError(where + " threw: " + e.what_without_backtrace());
  } catch (const std::exception& e) {
    throw UserError(where + " threw: " + e.what());
  }
}

std::shared_ptr<torch::nn::Module> build_model(Trainer& trainer, std::int64_t seed) {
  internal::seed_default_generator(
      internal::stream_seed(static_cast<std::uint64_t>(seed), internal::StreamPurpose::kModelInit));
  return call_user_code("build_model()", [&] {
    auto model = trainer.build_model();
    if (model == nullptr)
      throw UserError("build_model(): expected a module, found nullptr; return the model");
    model->train();
    return model;
  });
}

std::unique_ptr<DataLoader> make_loader(Trainer& trainer, const LogicalRange& run) {
  auto dataset = call_user_code("train_dataset()", [&] { return trainer.train_dataset(); });
  if (dataset == nullptr)
    throw UserError("train_dataset(): expected a data set, found nullptr; return one");
  const TrainerOptions& options = trainer.options;
  LoaderOptions loader;
  loader.logical_ranks = static_cast<int>(options.logical_ranks);
  loader.first_logical_rank = run.begin;
  loader.end_logical_rank = run.end;
  loader.accumulation_steps = options.accumulation_steps;
  loader.micro_batch = options.micro_batch;
  loader.seed = static_cast<std::uint64_t>(options.seed);
  loader.drop_last = options.drop_last;
  loader.prefetch_batches = static_cast<int>(options.prefetch);
  return std::make_unique<DataLoader>(std::move(dataset), loader);
}

/// A hash of one micro-batch's sample ids, keyed by its place, so that the sum over all places does
/// not depend on who had which.
std::uint64_t ledger_of(const MicroBatch& micro) {
  std::uint64_t hash = mix64(static_cast<std::uint64_t>(micro.logical_rank),
                             static_cast<std::uint64_t>(micro.micro_step));
  for (const std::int64_t id : micro.batch.sample_ids)
    hash = mix64(hash, static_cast<std::uint64_t>(id));
  return hash;
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
      numerics_(internal::numerics_fingerprint()),
      stop_request_(control),
      progress_report_(control, world.env().rank, options_.log_every) {
  check_numerics();
  const LogicalRange run = assign_logical_ranks(
      static_cast<int>(options_.logical_ranks),
      communicator_.world_size())[static_cast<std::size_t>(communicator_.rank())];
  internal::run_together(communicator_, [&] {
    model_ = build_model(trainer_, options_.seed);
    loader_ = make_loader(trainer_, run);
    test_dataset_ = call_user_code("test_dataset()", [&] { return trainer_.test_dataset(); });
  });
  EngineOptions engine_options = options_.engine_options();
  engine_options.decays = [this](const std::string& name, const at::Tensor& parameter) {
    return trainer_.decays(name, parameter);
  };
  internal::run_alike(communicator_, [&] {
    engine_ = std::make_unique<Engine>(*model_, communicator_, std::move(engine_options));
  });
  total_steps_ = options_.steps > 0 ? options_.steps : options_.epochs * loader_->steps_per_epoch();
  schedule_ = options_.learning_rate_schedule(total_steps_);
  restore();
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

void TrainingRun::restore() {
  if (!options_.checkpoint_dir.empty()) {
    const checkpoint::Retention retention{.keep_last = static_cast<int>(options_.keep_checkpoints),
                                          .keep_every = options_.keep_every};
    saver_.emplace(options_.checkpoint_dir, world_.env(), communicator_, retention, options_.fresh,
                   [this](std::int64_t step, const std::filesystem::path& path) {
                     progress_report_.checkpoint(step, path.string());
                   });
    const auto state =
        saver_->restore(*engine_, [this](const Json& run_state, const std::string& origin) {
          check_resumable(run_state, origin);
        });
    if (state) {
      progress_ = internal::JobProgress::from_json(state->at("progress"), options_.checkpoint_dir);
      engine_->resume(progress_.step, progress_.loss_scale);
      loader_->restore({progress_.epoch, progress_.position});
      if (world_.env().rank == 0) {
        MUSTER_LOG(INFO) << "resumed at step " << progress_.step << " from "
                         << options_.checkpoint_dir;
      }
    }
    if (world_.env().rank == 0) {
      metrics_log_.emplace(std::filesystem::path(options_.checkpoint_dir) / "metrics.jsonl",
                           progress_.step);
    }
  }
  trainer_.step_ = progress_.step;
  progress_report_.resumed(progress_.step);
}

void TrainingRun::check_resumable(const Json& run_state, const std::string& origin) {
  const auto refuse = [&](const char* part, const Json& ours, const char* advice) {
    const Json theirs = run_state.value(part, Json::object());
    const std::vector<std::string> lines = internal::differences(theirs, ours);
    if (lines.empty()) return;
    std::string text;
    for (const std::string& line : lines) text += (text.empty() ? "" : "; ") + line;
    throw ConfigError(origin + ": the checkpoint was written by a run with another " + part + ": " +
                      text + "; " + advice);
  };
  refuse("job", job_, "give the same options, another --checkpoint-dir, or --fresh to start over");
  if (!options_.allow_other_numerics) {
    refuse("numerics", numerics_,
           "the bits would differ: resume on the same class of machine, or pass "
           "--allow-other-numerics");
  }
}

RunOutcome TrainingRun::run() {
  internal::StopReason stop = internal::StopReason::kNone;
  while (progress_.step < total_steps_ && stop == internal::StopReason::kNone) {
    const StepReport report = train_step();
    const Agreement agreement = agree();
    progress_.ledger = mix64(progress_.ledger, agreement.step_ledger);
    log_step(report);
    if (agreement.parts_written) saver_->commit();
    if (saver_) saver_->poll();
    if (evaluation_due()) evaluate();
    stop = agreement.stop;
    if (checkpoint_due() || (stop != internal::StopReason::kNone && saver_)) save();
  }
  if (saver_) saver_->finish();
  communicator_.barrier().wait();  // nobody leaves before rank 0 has committed
  if (stop == internal::StopReason::kInterrupt) return RunOutcome::kInterrupted;
  if (stop == internal::StopReason::kPreempt) return RunOutcome::kPreempted;
  if (options_.ema > 0) engine_->swap_average();
  if (world_.env().rank == 0) {
    model_->eval();
    internal::seed_default_generator(internal::stream_seed(
        static_cast<std::uint64_t>(options_.seed), internal::StreamPurpose::kFinish));
    call_user_code("on_finished()", [&] { trainer_.on_finished(); });
  }
  return RunOutcome::kFinished;
}

StepReport TrainingRun::train_step() {
  engine_->begin_step();
  local_ledger_ = 0;
  for (const MicroStep& micro : engine_->micro_steps()) {
    const MicroBatch micro_batch = loader_->next();
    MUSTER_CHECK(micro_batch.logical_rank == micro.logical_rank &&
                 micro_batch.micro_step == micro.micro_step);
    local_ledger_ += ledger_of(micro_batch);
    engine_->begin_micro_step(micro);
    if (micro_batch.batch.size() == 0) continue;
    const Loss loss = loss_of(micro_batch);
    call_user_code("backward", [&] { engine_->backward(loss.mean, loss.weight); });
  }
  StepReport report;
  internal::run_alike(communicator_,
                      [&] { report = engine_->finish_step(schedule_.rate(progress_.step)); });
  const LoaderState next = loader_->state();
  progress_.step = trainer_.step_ = report.step;
  progress_.loss_scale = engine_->loss_scale();
  progress_.epoch = next.epoch;
  progress_.position = next.position;
  return report;
}

Loss TrainingRun::loss_of(const MicroBatch& micro_batch) {
  const std::string where = "compute_loss() at step " + std::to_string(progress_.step + 1) +
                            ", logical rank " + std::to_string(micro_batch.logical_rank);
  Loss loss = call_user_code(where, [&] {
    const Autocast autocast(engine_->options().precision);
    return trainer_.compute_loss(micro_batch.batch);
  });
  if (!loss.mean.defined()) throw UserError(where + ": expected a loss, found an undefined tensor");
  if (loss.weight == 0) loss.weight = static_cast<double>(micro_batch.batch.size());
  return loss;
}

TrainingRun::Agreement TrainingRun::agree() {
  const internal::StopReason stop = stop_request_.poll();
  at::Tensor words = at::zeros({4}, at::TensorOptions(at::kLong));
  auto* w = words.mutable_data_ptr<std::int64_t>();
  w[0] = static_cast<std::int64_t>(local_ledger_);  // wraps around: any order gives the same sum
  w[1] = stop == internal::StopReason::kInterrupt ? 1 : 0;
  w[2] = stop == internal::StopReason::kPreempt ? 1 : 0;
  w[3] = saver_ && saver_->part_written() ? 1 : 0;
  communicator_.all_reduce(words).wait();
  Agreement agreement;
  agreement.step_ledger = static_cast<std::uint64_t>(w[0]);
  if (w[1] > 0) agreement.stop = internal::StopReason::kInterrupt;
  if (w[2] > 0) agreement.stop = internal::StopReason::kPreempt;
  agreement.parts_written = w[3] == communicator_.world_size();
  return agreement;
}

void TrainingRun::log_step(const StepReport& report) {
  progress_report_.step(report, total_steps_, progress_.epoch,
                        internal::ProgressReport::Clock::now());
  if (!metrics_log_) return;
  Json line = {{"step", report.step},
               {"epoch", progress_.epoch},
               {"loss", report.loss},
               {"learning_rate", report.learning_rate},
               {"gradient_norm", report.gradient_norm},
               {"samples", report.weight},
               {"ledger", progress_.to_json()["ledger"]}};
  if (engine_->options().precision == Precision::kFloat16Mixed) {
    line["loss_scale"] = report.loss_scale;
    line["skipped"] = report.skipped;
  }
  metrics_log_->append(line);
}

bool TrainingRun::evaluation_due() const {
  if (test_dataset_ == nullptr) return false;
  if (progress_.step == total_steps_) return true;
  const bool epoch_ended = progress_.position == 0;
  return epoch_ended && options_.eval_every > 0 && progress_.epoch % options_.eval_every == 0;
}

void TrainingRun::evaluate() {
  model_->eval();
  if (options_.ema > 0) engine_->swap_average();
  const MetricSums sums = call_user_code("evaluate_batch()", [&] {
    const Autocast autocast(engine_->options().precision);
    return internal::evaluate(trainer_, *test_dataset_, communicator_,
                              static_cast<int>(options_.logical_ranks), options_.eval_batch);
  });
  if (options_.ema > 0) engine_->swap_average();
  model_->train();
  progress_report_.pause(internal::ProgressReport::Clock::now());
  metrics_ = internal::metrics_to_json(sums);
  if (world_.env().rank != 0) return;
  std::printf("step %lld test:", static_cast<long long>(progress_.step));
  for (const auto& [name, value] : sums.values()) std::printf(" %s %.4f", name.c_str(), value);
  std::printf("\n");
  std::fflush(stdout);
  if (metrics_log_) metrics_log_->append({{"step", progress_.step}, {"test", metrics_}});
}

bool TrainingRun::checkpoint_due() const {
  if (!saver_) return false;
  if (progress_.step == total_steps_) return true;
  return options_.checkpoint_every > 0 && progress_.step % options_.checkpoint_every == 0;
}

void TrainingRun::save() { saver_->start(*engine_, progress_.step, run_state()); }

Json TrainingRun::run_state() const {
  return {{"progress", progress_.to_json()},
          {"job", job_},
          {"numerics", numerics_},
          {"metrics", metrics_},
          {"circumstances",
           {{"world_size", communicator_.world_size()},
            {"generation", world_.env().generation},
            {"muster", kVersion}}}};
}

RunOutcome run_training(Trainer& trainer, World& world, const OptionSet& option_set,
                        ControlChannel* control) {
  return TrainingRun(trainer, world, option_set, control).run();
}

}  // namespace muster
