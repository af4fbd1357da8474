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
#include "run_state.h"
#include "stop_request.h"

namespace muster {

class TrainingRun {
 public:
  /// Collective. Builds model, data, engine; restores the newest checkpoint.
  TrainingRun(Trainer& trainer, World& world, const OptionSet& option_set, ControlChannel* control);

  /// Collective. To the last step, or until a stop is agreed on.
  RunOutcome run();

 private:
  /// What the ranks agree on at a step's end.
  struct Agreement {
    std::uint64_t step_ledger = 0;  ///< Hash over all sample ids of the step.
    internal::StopReason stop = internal::StopReason::kNone;
    bool parts_written = false;  ///< Every rank's part of the save in flight is on disk.
  };

  void check_numerics();
  void restore();
  void check_resumable(const Json& run_state, const std::string& origin);
  StepReport train_step();
  Loss loss_of(const MicroBatch& micro_batch);
  Agreement agree();
  void log_step(const StepReport& report);
  bool evaluation_due() const;
  void evaluate();
  bool checkpoint_due() const;
  void save();
  Json run_state() const;

  Trainer& trainer_;
  World& world_;
  Communicator& communicator_;
  const TrainerOptions& options_;
  ControlChannel* control_;
  Json job_;
  Json numerics_;
  Json metrics_ = Json::object();  // of the latest evaluation
  std::shared_ptr<torch::nn::Module> model_;
  std::shared_ptr<const Dataset> test_dataset_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<DataLoader> loader_;
  std::int64_t total_steps_ = 0;
  Schedule schedule_;
  internal::JobProgress progress_;
  std::uint64_t local_ledger_ = 0;  // this rank's part of the step's
  std::optional<internal::CheckpointSaver> saver_;
  std::optional<internal::MetricsLog> metrics_log_;  // rank 0
  internal::StopRequest stop_request_;
  internal::ProgressReport progress_report_;
};

}  // namespace muster

#endif  // MUSTER_TRAINER_SRC_TRAINING_RUN_H_
