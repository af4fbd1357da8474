// The training loop and what it joins.
#include "training_run.h"

#include <ATen/ops/zeros.h>
#include <torch/nn/module.h>

#include <cmath>
#include <cstdio>
#include <filesystem>
#include <functional>
#include <future>

#include "evaluation.h"
#include "metric_exchange.h"
#include "micro_batch_choice.h"
#include "muster/base/build_id.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/hash.h"
#include "muster/base/log.h"
#include "muster/base/version.h"
#include "muster/checkpoint/layout.h"
#include "not_finite_search.h"
#include "run_directory.h"
#include "run_together.h"
#include "seeding.h"
#include "text_exchange.h"
#include "training_parts.h"
#include "user_code.h"

namespace muster {

using internal::call_user_code;

namespace {

/// A hash of one micro-batch's sample ids, keyed by its place, so that the sum over all places does
/// not depend on who had which.
std::uint64_t ledger_of(const MicroBatch& micro) {
  std::uint64_t hash = mix64(static_cast<std::uint64_t>(micro.logical_rank),
                             static_cast<std::uint64_t>(micro.micro_step));
  for (const std::int64_t id : micro.batch.sample_ids)
    hash = mix64(hash, static_cast<std::uint64_t>(id));
  return hash;
}

void print(std::int64_t step, const char* part, const MetricSums& sums) {
  std::printf("step %lld %s:", static_cast<long long>(step), part);
  for (const auto& [name, value] : sums.values()) std::printf(" %s %.4f", name.c_str(), value);
  std::printf("\n");
  std::fflush(stdout);
}

double score_of(const MetricSums& sums, const std::string& metric) {
  std::string names;
  for (const auto& [name, value] : sums.values()) {
    if (name == metric) return value;
    names += (names.empty() ? "" : ", ") + name;
  }
  throw ConfigError("--score: expected a metric of the evaluation (" + names + "), found '" +
                    metric + "'; choose one of them, or add it in evaluate_batch()");
}

}  // namespace

RunOutcome TrainingRun::run() {
  began_ = std::chrono::steady_clock::now();
  internal::StopReason stop = internal::StopReason::kNone;
  // A run that is at its end already makes no step that would be saved.
  if (saver_ && saver_->restored_snapshot() && !ended_.empty()) save();
  while (ended_.empty() && stop == internal::StopReason::kNone) {
    const StepReport report = train_step();
    const Agreement agreement = agree();
    progress_.ledger = mix64(progress_.ledger, agreement.step_ledger);
    ended_ = end_reached(agreement.time_is_up);
    log_step(report);
    call_user_code("on_step_end()", [&] { trainer_.on_step_end(report); });
    if (progress_.position == 0)
      call_user_code("on_epoch_end()", [&] { trainer_.on_epoch_end(progress_.epoch); });
    if (agreement.commit_failed) saver_->settle();
    if (agreement.parts_ended) saver_->commit();
    forget_failed_saves();
    const bool best = evaluation_due() && evaluate();
    if (ended_.empty()) ended_ = end_reached(false);
    stop = agreement.stop;
    if (saver_ && (best || checkpoint_due() || stop != internal::StopReason::kNone)) save();
    if (stop == internal::StopReason::kNone && snapshot_due())
      saver_->snapshot(*engine_, progress_.step, run_state());
  }
  if (saver_) saver_->finish();
  communicator_.barrier().wait();  // nobody leaves before rank 0 has committed
  if (stop == internal::StopReason::kInterrupt) return RunOutcome::kInterrupted;
  if (stop == internal::StopReason::kPreempt) return RunOutcome::kPreempted;
  finish();
  return RunOutcome::kFinished;
}

StepReport TrainingRun::train_step() {
  internal::run_alike(communicator_, [&] { engine_->begin_step(); });
  local_ledger_ = 0;
  not_finite_.reset();
  for (const MicroStep& micro : engine_->micro_steps()) {
    MicroBatch micro_batch = loader_->next();
    MUSTER_CHECK(micro_batch.logical_rank == micro.logical_rank &&
                 micro_batch.micro_step == micro.micro_step);
    local_ledger_ += ledger_of(micro_batch);
    micro_batch.batch = internal::on_device(std::move(micro_batch.batch), trainer_.device());
    engine_->begin_micro_step(micro);
    if (micro_batch.batch.size() == 0) continue;
    const Loss loss = loss_of(micro_batch);
    const double weight = loss.weight_over(micro_batch.batch);
    if (weight == 0) continue;
    const double value =
        call_user_code("backward", [&] { return engine_->backward(loss.mean, weight); });
    if (!std::isfinite(value) && !not_finite_) not_finite_ = micro_batch;
  }
  const StepReport report = finish_step();
  const LoaderState next = loader_->state();
  progress_.step = trainer_.step_ = report.step;
  progress_.tokens += report.weight;
  progress_.loss_scale = engine_->loss_scale();
  progress_.epoch = next.epoch;
  progress_.position = next.position;
  return report;
}

StepReport TrainingRun::finish_step() {
  StepReport report;
  internal::run_alike(communicator_, [&] {
    try {
      report = engine_->finish_step(schedule_.rate(progress_.step));
    } catch (const LossNotFinite& e) {
      const bool mine = not_finite_ && not_finite_->logical_rank == e.logical_rank();
      std::string text = e.what();
      for (const std::string& more :
           internal::gather_texts(communicator_, mine ? describe_not_finite() : ""))
        text += more;
      throw UserError(text);
    }
  });
  return report;
}

// No update was made and the random numbers are the same, so the forward pass is.
std::string TrainingRun::describe_not_finite() {
  const MicroBatch& micro = *not_finite_;
  std::string ids;
  for (const std::int64_t id : micro.batch.sample_ids)
    ids += (ids.empty() ? "" : ", ") + std::to_string(id);
  internal::seed_default_generators(
      internal::stream_seed(static_cast<std::uint64_t>(options_.seed),
                            internal::StreamPurpose::kMicroStep, progress_.step, micro.logical_rank,
                            micro.micro_step),
      trainer_.device());
  return "; samples " + ids + "; the first that is not finite is " +
         internal::find_not_finite(*model_, micro.batch, [&] { loss_of(micro); });
}

Loss TrainingRun::loss_of(const MicroBatch& micro_batch) {
  const std::string where = "compute_loss() at step " + std::to_string(progress_.step + 1) +
                            ", logical rank " + std::to_string(micro_batch.logical_rank);
  const Loss loss = call_user_code(where, [&] {
    const Autocast autocast(engine_->options().precision, trainer_.device());
    return trainer_.compute_loss(micro_batch.batch);
  });
  if (!loss.mean.defined()) throw UserError(where + ": expected a loss, found an undefined tensor");
  return loss;
}

TrainingRun::Agreement TrainingRun::agree() {
  const internal::StopReason stop = stop_request_.poll();
  at::Tensor words = at::zeros({6}, at::TensorOptions(at::kLong));
  auto* w = words.mutable_data_ptr<std::int64_t>();
  w[0] = static_cast<std::int64_t>(local_ledger_);  // wraps around: any order gives the same sum
  w[1] = stop == internal::StopReason::kInterrupt ? 1 : 0;
  w[2] = stop == internal::StopReason::kPreempt ? 1 : 0;
  w[3] = saver_ && saver_->part_ended() ? 1 : 0;
  w[4] = communicator_.rank() == 0 && limits_.time_is_up(trained()) ? 1 : 0;
  w[5] = saver_ && saver_->poll() ? 1 : 0;
  communicator_.all_reduce(words).wait();
  Agreement agreement;
  agreement.step_ledger = static_cast<std::uint64_t>(w[0]);
  if (w[1] > 0) agreement.stop = internal::StopReason::kInterrupt;
  if (w[2] > 0) agreement.stop = internal::StopReason::kPreempt;
  agreement.parts_ended = w[3] == communicator_.world_size();
  agreement.commit_failed = w[5] > 0;
  agreement.time_is_up = w[4] > 0;
  return agreement;
}

void TrainingRun::log_step(const StepReport& report) {
  progress_report_.step(report, limits_.steps.value_or(0), !ended_.empty(), progress_.epoch,
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

std::string TrainingRun::end_reached(bool time_is_up) const {
  const std::string limit = limits_.reached(progress_, time_is_up);
  if (!limit.empty() || !score_watch_ || !score_watch_->exhausted()) return limit;
  return std::to_string(options_.patience) + " evaluations without a better " +
         score_watch_->rule().metric;
}

std::chrono::duration<double> TrainingRun::trained() const {
  return trained_before_ + (std::chrono::steady_clock::now() - began_);
}

bool TrainingRun::evaluation_due() const {
  if (test_dataset_ == nullptr && validation_dataset_ == nullptr) return false;
  if (!ended_.empty()) return true;
  const bool epoch_ended = progress_.position == 0;
  return epoch_ended && options_.eval_every > 0 && progress_.epoch % options_.eval_every == 0;
}

MetricSums TrainingRun::evaluate_on(const Dataset& dataset) {
  if (options_.ema > 0) engine_->swap_average();
  MetricSums sums = call_user_code("evaluate_batch()", [&] {
    const Autocast autocast(engine_->options().precision, trainer_.device());
    return internal::evaluate(trainer_, *model_, dataset, communicator_,
                              static_cast<int>(options_.logical_ranks), options_.eval_batch);
  });
  if (options_.ema > 0) engine_->swap_average();
  return sums;
}

bool TrainingRun::evaluate() {
  const char* part = validation_dataset_ ? "validation" : "test";
  const MetricSums sums = evaluate_on(validation_dataset_ ? *validation_dataset_ : *test_dataset_);
  progress_report_.pause(internal::ProgressReport::Clock::now());
  metrics_ = internal::metrics_to_json(sums);
  evaluated_step_ = progress_.step;
  bool best = false;
  if (score_watch_) {
    internal::run_alike(communicator_, [&] {
      best = score_watch_->add(progress_.step, score_of(sums, score_watch_->rule().metric));
    });
  }
  if (world_.env().rank == 0) {
    print(progress_.step, part, sums);
    if (metrics_log_) metrics_log_->append({{"step", progress_.step}, {part, metrics_}});
  }
  call_user_code("on_evaluation()", [&] {
    trainer_.on_evaluation({.step = progress_.step, .metrics = sums, .best = best});
  });
  return best;
}

bool TrainingRun::checkpoint_due() const {
  if (!ended_.empty()) return true;
  return options_.checkpoint_every > 0 && progress_.step % options_.checkpoint_every == 0;
}

// The last state of a run is what its last checkpoint is for.
bool TrainingRun::snapshot_due() const {
  const std::int64_t every = options_.snapshot_every;
  return every > 0 && ended_.empty() && progress_.step % every == 0;
}

void TrainingRun::save() {
  saver_->settle_all();
  forget_failed_saves();
  const auto best_step = score_watch_ ? score_watch_->best_step() : std::nullopt;
  saver_->start(*engine_, progress_.step, run_state(), best_step);
  saved_score_ = score_watch_ ? score_watch_->to_json() : Json();
}

// The best is what can be had again.
void TrainingRun::forget_failed_saves() {
  if (!saver_ || !score_watch_) return;
  for (const std::int64_t step : saver_->take_failed_steps()) score_watch_->forget(step);
}

Json TrainingRun::run_state() const {
  Json progress = progress_.to_json();
  const std::string user_state =
      call_user_code("save_state()", [&] { return trainer_.save_state(); });
  if (!user_state.empty()) progress["user_state"] = user_state;
  Json state = {{"progress", progress},
                {"job", job_},
                {"numerics", numerics_},
                {"train_samples", train_samples_},
                {"metrics", metrics_},
                {"circumstances",
                 {{"world_size", communicator_.world_size()},
                  {"generation", world_.env().generation},
                  {"trained_seconds", trained().count()},
                  {"schedule_steps", limits_.steps.value_or(0)},
                  {"options", other_options_},
                  {"build_id", own_build_id()},
                  {"muster", kVersion}}}};
  if (score_watch_) state["score"] = score_watch_->to_json();
  if (!evaluated_step_.is_null()) state["evaluated_step"] = evaluated_step_;
  if (!init_from_.is_null()) state["init_from"] = init_from_;
  return state;
}

void TrainingRun::committed(std::int64_t step, const std::filesystem::path& path) {
  progress_report_.checkpoint(step, path.string());
  tell_best(saved_score_);
  call_user_code("on_checkpoint()", [&] { trainer_.on_checkpoint(step, path); });
}

// Which checkpoint is the best; it was committed with this score, or before.
void TrainingRun::tell_best(const Json& score) const {
  if (!score.is_object() || !score.contains("best_step")) return;
  const auto step = score.at("best_step").get<std::int64_t>();
  internal::write_file(options_.run_directory() / "best.json",
                       {{"step", step},
                        {"checkpoint", checkpoint::step_directory_name(step)},
                        {"metric", score.at("metric")},
                        {"value", score.at("best")}});
}

void TrainingRun::finish() {
  if (world_.env().rank == 0 && limits_.steps != progress_.step)
    MUSTER_LOG(INFO) << "training ended at step " << progress_.step << ": " << ended_;
  take_best();
  if (validation_dataset_ && test_dataset_) test();
  if (options_.ema > 0) engine_->swap_average();
  if (options_.zero_stage < 3 || communicator_.world_size() == 1) {
    if (world_.env().rank == 0) end_on_rank_0();
    return;
  }
  // Rank 0 may read what the others own, for longer than a deadline. While it does they hear of it
  // in a communicator of their own, since one thread uses one.
  const std::unique_ptr<Communicator> signs = communicator_.split(0, communicator_.rank());
  std::promise<void> done;
  const auto wait = [&, ended = done.get_future()] {
    internal::wait_for_rank_0(
        *signs, [&] { return ended.wait_for(internal::kRank0Sign) == std::future_status::ready; });
  };
  if (world_.env().rank != 0) {
    wait();
    return;
  }
  std::future<void> told = std::async(std::launch::async, std::cref(wait));
  try {
    end_on_rank_0();
  } catch (...) {
    done.set_value();
    throw;
  }
  done.set_value();
  told.get();
}

void TrainingRun::end_on_rank_0() {
  model_->eval();
  internal::seed_default_generators(internal::stream_seed(static_cast<std::uint64_t>(options_.seed),
                                                          internal::StreamPurpose::kFinish),
                                    trainer_.device());
  call_user_code("on_finished()", [&] { trainer_.on_finished(); });
  if (saver_) {
    internal::write_file(options_.run_directory() / internal::kFinishedFile,
                         {{"step", progress_.step}, {"reason", ended_}});
  }
}

void TrainingRun::take_best() {
  if (!saver_ || !score_watch_) return;
  for (auto best = score_watch_->best_step(); best && *best != progress_.step;
       best = score_watch_->best_step()) {
    if (saver_->has(*best)) {
      saver_->load(*engine_, *best);
      return;
    }
    // It was not saved before the run died, and went on from a snapshot; or it was deleted.
    score_watch_->forget(*best);
    if (world_.env().rank == 0)
      MUSTER_LOG(WARNING) << "the best checkpoint, of step " << *best
                          << ", is not there any more: the best before it takes its place, or else "
                             "the last weights";
  }
}

void TrainingRun::test() {
  const bool best = saver_ && score_watch_ && score_watch_->best_step();
  const std::int64_t step = best ? *score_watch_->best_step() : progress_.step;
  const MetricSums sums = evaluate_on(*test_dataset_);
  if (world_.env().rank != 0) return;
  print(step, "test", sums);
  if (!saver_) return;
  internal::write_file(options_.run_directory() / "test.json",
                       {{"step", step}, {"test", internal::metrics_to_json(sums)}});
}

RunOutcome run_training(Trainer& trainer, World& world, const OptionSet& option_set,
                        ControlChannel* control) {
  if (trainer.options.micro_batch == 0) internal::resolve_micro_batch(trainer, world);
  return TrainingRun(trainer, world, option_set, control).run();
}

}  // namespace muster
