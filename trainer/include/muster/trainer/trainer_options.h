// Every option of a training program, as a plain struct, and its flags.
#ifndef MUSTER_TRAINER_TRAINER_OPTIONS_H_
#define MUSTER_TRAINER_TRAINER_OPTIONS_H_

#include <cstdint>
#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/options.h"
#include "muster/trainer/engine_options.h"
#include "muster/trainer/schedule.h"

namespace muster {

/// Fields are the flags' variables (dashes become underscores). Those marked (job) define the
/// computation: they are kept in the checkpoint and a resume with another value is refused. The
/// others are circumstances and never change a bit.
struct TrainerOptions {
  // The job.
  std::int64_t logical_ranks = 4;       ///< (job)
  std::int64_t accumulation_steps = 1;  ///< (job)
  std::int64_t micro_batch = 32;  ///< (job) samples; 0: chosen at the start, from the next two
  std::int64_t global_batch = 0;  ///< (job) 0: the product of the three above.
  double memory_gib = 0;          ///< That a rank may use; to choose a micro_batch.
  std::int64_t epochs = 1;
  std::int64_t steps = 0;    ///< 0: from `epochs`.
  std::int64_t tokens = 0;   ///< Of all losses' weights; 0: no limit.
  double minutes = 0;        ///< Of training, over all lives of the run; 0: no limit.
  std::int64_t seed = 0;     ///< (job)
  bool drop_last = false;    ///< (job)
  std::int64_t threads = 1;  ///< (job) of each rank.

  // The optimizer.
  std::string optimizer = "adamw";        ///< (job) sgd | adam | adamw | lion | lamb | adafactor
  double learning_rate = 1e-3;            ///< (job)
  std::string schedule = "constant";      ///< (job) as parse_schedule() reads it
  std::int64_t warmup_steps = 0;          ///< (job)
  double min_learning_rate_factor = 0.0;  ///< (job)
  double schedule_power = 1.0;            ///< (job)
  std::int64_t step_size = 1000;          ///< (job)
  double gamma = 0.1;                     ///< (job)
  double pct_start = 0.3;                 ///< (job)
  double div_factor = 25.0;               ///< (job)
  double final_div_factor = 1e4;          ///< (job)
  double weight_decay = 0.0;              ///< (job)
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< (job)
  double momentum = 0.9;                              ///< (job)
  double dampening = 0.0;                             ///< (job)
  bool nesterov = false;                              ///< (job)
  std::string precision = "fp32";           ///< (job) fp32 | bf16-mixed | fp16-mixed | bf16
  std::string reduction = "exact";          ///< (job) exact | fast
  double loss_scale = 65536;                ///< (job) To begin with; fp16-mixed.
  std::int64_t loss_scale_interval = 2000;  ///< (job) fp16-mixed.
  std::string parameter_groups;             ///< (job) as parse_parameter_groups() reads it
  double clip_norm = 0.0;                   ///< (job)
  double clip_value = 0.0;                  ///< (job)
  double ema = 0.0;                         ///< (job)
  bool ema_warmup = false;                  ///< (job)

  // Checkpoints.
  std::string checkpoint_dir;         ///< Empty: none.
  std::int64_t checkpoint_every = 0;  ///< Steps; 0: at the end only.
  std::int64_t snapshot_every = 0;    ///< Steps; 0: off.
  std::int64_t keep_checkpoints = 3;
  std::int64_t keep_every = 0;              ///< Steps; 0: off.
  std::int64_t keep_best = 0;               ///< By `score`; 0: the very best alone.
  std::int64_t checkpoint_staging_mib = 0;  ///< Memory for a rank's part; 0: whatever it needs.
  std::int64_t checkpoint_failures = 0;     ///< Saves in a row that may fail; the last may not.
  std::string checkpoint_upload;  ///< "s3://bucket/prefix", where they go too; empty: nowhere.
  std::string run;  ///< A directory of this name in checkpoint_dir; empty: checkpoint_dir itself.
  bool fresh = false;
  bool allow_other_numerics = false;
  std::string init_from;      ///< Of the first step of a new run; empty: build_model()'s values.
  std::string allow_missing;  ///< Patterns of what need not fit, by commas.

  // Evaluation and reports.
  std::int64_t eval_every = 1;    ///< Epochs; 0: at the end only.
  std::int64_t eval_batch = 250;  ///< (job) samples
  std::string score;              ///< As "max:accuracy"; empty: none.
  std::int64_t patience = 0;      ///< Evaluations without a better score that end training; 0: any.
  double min_delta = 0;           ///< By how much a score must be better to count for that.
  std::int64_t log_every = 100;   ///< Steps.

  // Circumstances.
  std::string device = "auto";  ///< auto | cpu | cuda
  std::string transport = "auto";
  std::string gpu_transport = "auto";  ///< auto | nccl | cuda_ipc | host
  double timeout_s = 300;
  std::int64_t zero_stage = 1;
  std::string offload = "none";  ///< none | optimizer
  std::int64_t bucket_mib = 16;
  std::string units;  ///< As EngineOptions::units, by commas.
  std::int64_t prefetch_units = 1;
  bool replicate_between_nodes = false;
  std::int64_t prefetch = 4;
  /// For build_model() to read: activation_checkpoint(). Refused where the program does not say
  /// Trainer::offers_activation_checkpointing().
  bool activation_checkpointing = false;

  /// Binds each field to its flag.
  void bind(OptionSet& options);
  /// All problems at once; empty when there is none.
  std::vector<std::string> validate() const;
  /// Where the run's checkpoints are; empty where it makes none.
  std::filesystem::path run_directory() const;
  /// Where the run's checkpoints are uploaded to; empty where they are not.
  std::string upload_url() const;
  /// Throws ConfigError when `optimizer` or `parameter_groups` cannot be read.
  EngineOptions engine_options() const;
  /// Throws ConfigError when `schedule` cannot be read.
  Schedule learning_rate_schedule(std::int64_t total_steps) const;
};

/// Flags that may differ between a run and its resume.
bool is_circumstance(const std::string& option_name);

}  // namespace muster

#endif  // MUSTER_TRAINER_TRAINER_OPTIONS_H_
