// The loop: fetch, micro-steps, reduce and update, agree, log, evaluate, checkpoint, stop?
#ifndef MUSTER_TRAINER_SRC_TRAINING_RUN_H_
#define MUSTER_TRAINER_SRC_TRAINING_RUN_H_

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "checkpoint_saver.h"
#include "metrics_log.h"
#include "muster/base/control_messages.h"
#include "muster/base/options.h"
#include "muster/collectives/world.h"
#include "muster/data_loader/data_loader.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/trainer.h"
#include "progress_report.h"
#include "run_limits.h"
#include "run_state.h"
#include "score_watch.h"
#include "stop_request.h"

namespace muster {

class TrainingRun {
 public:
  /// Collective. Builds model, data, engine; restores the newest checkpoint.
  TrainingRun(Trainer& trainer, World& world, const OptionSet& option_set, ControlChannel* control);

  ~TrainingRun();

  /// Collective. To a limit, to the end of patience, or until a stop is agreed on.
  RunOutcome run();

 private:
  /// What the ranks agree on at a step's end.
  struct Agreement {
    std::uint64_t step_ledger = 0;  ///< Hash over all sample ids of the step.
    internal::StopReason stop = internal::StopReason::kNone;
    bool parts_ended = false;    ///< Every rank's part of the save in flight is on disk, or failed.
    bool commit_failed = false;  ///< Rank 0 could not commit the save before.
    bool time_is_up = false;     ///< By rank 0's clock.
  };

  // Before the first step.
  void choose_device();
  void check_numerics();
  void check_data();
  void make_limits();
  void restore();
  void begin_anew();
  void read_finished();
  void go_on_from(const Json& run_state);
  void check_resumable(const Json& run_state, const std::string& origin);
  void refuse_finished(const Json& run_state, const std::string& origin) const;
  void warn_of_another_schedule(const Json& run_state) const;

  // The loop.
  StepReport train_step();
  StepReport finish_step();
  std::string describe_not_finite();
  Loss loss_of(const MicroBatch& micro_batch);
  Agreement agree();
  void log_step(const StepReport& report);
  bool evaluation_due() const;
  /// Returns whether the score is the best so far.
  bool evaluate();
  MetricSums evaluate_on(const Dataset& dataset);
  bool checkpoint_due() const;
  void save();
  void forget_failed_saves();
  bool snapshot_due() const;
  Json run_state() const;
  /// Why training ends here; empty where it goes on.
  std::string end_reached(bool time_is_up) const;
  std::chrono::duration<double> trained() const;

  // Beside it, on rank 0.
  void committed(std::int64_t step, const std::filesystem::path& path);
  void tell_best(const Json& score) const;

  // After the last step.
  void finish();
  void take_best();
  void test();
  void end_on_rank_0();

  Trainer& trainer_;
  World& world_;
  Communicator& communicator_;
  const TrainerOptions& options_;
  ControlChannel* control_;
  Json job_;
  Json other_options_;
  Json numerics_;
  Json metrics_ = Json::object();  // of the latest evaluation
  Json evaluated_step_;            // its step; null before the first
  Json init_from_;                 // the path of the weights the run began with; null: its own
  std::shared_ptr<torch::nn::Module> model_;
  std::shared_ptr<const Dataset> test_dataset_;
  std::shared_ptr<const Dataset> validation_dataset_;  // nullptr: the test data are used
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<DataLoader> loader_;
  std::int64_t train_samples_ = 0;  // in the data set
  internal::RunLimits limits_{0, 0, 0};
  Schedule schedule_;
  std::optional<internal::ScoreWatch> score_watch_;
  std::int64_t finished_step_ = -1;  // at which on_finished() has been called, in an earlier life
  std::string ended_;                // why; empty while training goes on
  std::chrono::duration<double> trained_before_{0};  // in earlier lives of the run
  std::chrono::steady_clock::time_point began_;
  internal::JobProgress progress_;
  std::uint64_t local_ledger_ = 0;        // this rank's part of the step's
  std::optional<MicroBatch> not_finite_;  // the rank's first of the step with such a loss
  std::optional<internal::CheckpointSaver> saver_;
  Json saved_score_;                                 // in the latest save; null without a score
  std::optional<internal::MetricsLog> metrics_log_;  // rank 0
  internal::StopRequest stop_request_;
  internal::ProgressReport progress_report_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_SRC_TRAINING_RUN_H_
