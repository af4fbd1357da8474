// Flags and checks of a training program's options.
#include "muster/trainer/trainer_options.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string_view>

#include "muster/base/error.h"
#include "score_watch.h"

namespace muster {

void TrainerOptions::bind(OptionSet& set) {
  set.group("Job");
  set.add("logical-ranks", &logical_ranks,
          "Ranks the computation is defined over; world sizes 1 to this give the same bits");
  set.add("accumulation-steps", &accumulation_steps, "Micro-batches a logical rank sums in a step");
  set.add_number_or("micro-batch", &micro_batch, "auto",
                    "Samples in a micro-batch; global batch = logical ranks x accumulation steps x "
                    "this. auto: the largest that --memory-gib has room for");
  set.add("global-batch", &global_batch, "Samples of a step; needed for --micro-batch auto");
  set.add("memory-gib", &memory_gib, "What a rank may use; for --micro-batch auto");
  set.add("epochs", &epochs, "Passes over the training data");
  set.add("steps", &steps, "Updates to make; 0: as many as --epochs has");
  set.add("tokens", &tokens,
          "End after so many tokens (samples where the loss is a mean over samples); 0: no such "
          "limit. With --epochs 0 the only one");
  set.add("minutes", &minutes, "End after so long a training, restarts included; as --tokens");
  set.add("seed", &seed, "Of initial weights, sample order, dropout");
  set.add("drop-last", &drop_last, "Leave out the short step at the end of an epoch");
  set.add("threads", &threads, "Threads a rank computes with");
  set.group("Optimizer");
  set.add_choice("optimizer", &optimizer, {"sgd", "adam", "adamw", "lion", "lamb", "adafactor"},
                 "Update rule");
  set.add("learning-rate", &learning_rate, "Base learning rate");
  set.add("schedule", &schedule,
          "Learning rate over the steps: constant, linear, cosine, polynomial, step, exponential, "
          "one-cycle; or a chain, each from the base rate: constant:800,linear");
  set.add("warmup-steps", &warmup_steps, "Steps in which the learning rate rises linearly");
  set.add("min-learning-rate-factor", &min_learning_rate_factor,
          "Where linear, cosine and polynomial end, as a fraction of the base rate");
  set.add("schedule-power", &schedule_power, "Polynomial schedule");
  set.add("step-size", &step_size, "Step schedule: steps between drops");
  set.add("gamma", &gamma, "Step and exponential schedules: factor of a drop, of a step");
  set.add("pct-start", &pct_start, "One-cycle: part of the steps in which the rate rises");
  set.add("div-factor", &div_factor, "One-cycle: base rate over first rate");
  set.add("final-div-factor", &final_div_factor, "One-cycle: first rate over last rate");
  set.add(
      "weight-decay", &weight_decay,
      "Added to the gradient for sgd and adam, decoupled for the others; not on biases and norms");
  set.add("beta1", &beta1, "All but sgd and adafactor");
  set.add("beta2", &beta2, "All but sgd and adafactor; lion's authors take 0.99");
  set.add("epsilon", &epsilon, "Adam, AdamW, LAMB");
  set.add("momentum", &momentum, "SGD");
  set.add("dampening", &dampening, "SGD");
  set.add("nesterov", &nesterov, "SGD with Nesterov's momentum");
  set.add(
      "parameter-groups", &parameter_groups,
      "Settings by name: \"emb.*:learning-rate-factor=0.1,weight-decay=0; *.bias:...\"; the first "
      "pattern that matches counts");
  set.add_choice("precision", &precision, {"fp32", "bf16-mixed", "fp16-mixed", "bf16"},
                 "What the model computes in, while parameters stay float32; bf16: they are "
                 "rounded copies of float32 masters. Sums of gradients are always float32");
  set.add_choice("reduction", &reduction, {"exact", "fast"},
                 "Order in which gradients are summed: exact gives the same bits at every world "
                 "size, fast takes the transport's own order");
  set.add("loss-scale", &loss_scale, "fp16-mixed: factor on the loss to begin with");
  set.add("loss-scale-interval", &loss_scale_interval,
          "fp16-mixed: steps without an overflow after which the factor is doubled");
  set.add("clip-norm", &clip_norm, "Largest global gradient norm; 0: no clipping");
  set.add("clip-value", &clip_value, "Largest element of the gradient; 0: no clipping");
  set.add("ema", &ema, "Decay of an average of weights, which evaluation uses; 0: none");
  set.add("ema-warmup", &ema_warmup, "Let the decay rise from small values in the first steps");
  set.group("Checkpoints");
  set.add("checkpoint-dir", &checkpoint_dir,
          "Where checkpoints and metrics.jsonl go, and where a resume begins; empty: none");
  set.add("checkpoint-every", &checkpoint_every, "Steps between checkpoints; 0: at the end only");
  set.add("snapshot-every", &snapshot_every,
          "Steps between copies of the state in memory that muster run holds, from which the job "
          "goes on when ranks die; twice its part of the state for each rank; 0: none");
  set.add("keep-checkpoints", &keep_checkpoints, "Newest checkpoints to keep");
  set.add("keep-every", &keep_every,
          "Also keep every checkpoint whose step is a multiple of this; 0: none");
  set.add("keep-best", &keep_best,
          "Also keep the checkpoints with the so many best --score; the very best is always kept");
  set.add("checkpoint-staging-mib", &checkpoint_staging_mib,
          "MiB a rank for the copy that is saved in the background; a larger part is written while "
          "the step waits; 0: as much as it needs");
  set.add("checkpoint-failures", &checkpoint_failures,
          "How many saves in a row may fail before training ends; the last one of a run may not");
  set.add("checkpoint-upload", &checkpoint_upload,
          "s3://BUCKET/PREFIX: checkpoints are copied there in the background (the newest and the "
          "best, where saves are quicker), and a run whose --checkpoint-dir is lost goes on from "
          "there; empty: nowhere");
  set.add("run", &run,
          "Name of the run: its checkpoints are in this directory of --checkpoint-dir. A run that "
          "has ended is refused");
  set.add("fresh", &fresh, "Start over; the checkpoints there are moved aside, not deleted");
  set.add("allow-other-numerics", &allow_other_numerics,
          "Resume although machine class or library versions differ (bits will too)");
  set.add("init-from", &init_from,
          "Weights that a new run begins with: a .safetensors file or .safetensors.index.json, a "
          "checkpoint, or a directory of checkpoints");
  set.add("allow-missing", &allow_missing,
          "Tensors that --init-from may lack, have besides, or have in another shape: names with * "
          "and ?, by commas");
  set.group("Evaluation and reports");
  set.add("eval-every", &eval_every, "Epochs between evaluations; 0: at the end only");
  set.add("eval-batch", &eval_batch, "Samples in an evaluation batch");
  set.add("score", &score,
          "What tells the best checkpoint, which is then kept: max:METRIC or min:METRIC");
  set.add("patience", &patience, "Evaluations without a better score that end training; 0: never");
  set.add("min-delta", &min_delta, "By how much a score must be better for --patience");
  set.add("log-every", &log_every, "Steps between log lines");
  set.group("Circumstances");
  set.add_choice("device", &device, {"auto", "cpu", "cuda"},
                 "Where the model is: auto takes a GPU where the program has a part for them "
                 "(muster::cuda) and the machine has one; ranks of a node take its GPUs in turns");
  set.add_choice("transport", &transport, {"auto", "shm", "mpi"}, "How ranks exchange tensors");
  set.add_choice("gpu-transport", &gpu_transport, {"auto", "nccl", "cuda_ipc", "host"},
                 "How ranks exchange tensors that are on GPUs");
  set.add("timeout", &timeout_s, "Seconds after which a silent rank is an error");
  set.add("zero-stage", &zero_stage,
          "What ranks share: 0 nothing, 1 optimizer state, 2 gradients too, 3 parameters too");
  set.add_choice("offload", &offload, {"none", "optimizer"},
                 "optimizer: its state and float32 weights are in host memory, and updated there, "
                 "where a GPU's is short");
  set.add("bucket-mib", &bucket_mib, "MiB of gradients reduced in one collective");
  set.add("replicate-between-nodes", &replicate_between_nodes,
          "At stage 3 each node keeps all parameters, which its ranks share");
  set.add("units", &units,
          "Modules whose parameters are fetched together, at stage 3 between nodes and on GPUs: "
          "names with * and ?, by commas; by default each numbered block");
  set.add("prefetch-units", &prefetch_units, "Units fetched ahead");
  set.add("prefetch", &prefetch, "Micro-batches prepared ahead");
  set.add("activation-checkpointing", &activation_checkpointing,
          "Keep the inputs of the model's blocks only and run each again in the backward pass; "
          "for programs that offer it");
}

namespace {

constexpr auto kCircumstances = std::to_array<std::string_view>({"epochs",
                                                                 "memory-gib",
                                                                 "steps",
                                                                 "tokens",
                                                                 "minutes",
                                                                 "run",
                                                                 "score",
                                                                 "patience",
                                                                 "min-delta",
                                                                 "checkpoint-dir",
                                                                 "checkpoint-every",
                                                                 "snapshot-every",
                                                                 "keep-checkpoints",
                                                                 "keep-every",
                                                                 "keep-best",
                                                                 "checkpoint-staging-mib",
                                                                 "checkpoint-failures",
                                                                 "checkpoint-upload",
                                                                 "fresh",
                                                                 "eval-every",
                                                                 "log-every",
                                                                 "transport",
                                                                 "allow-other-numerics",
                                                                 "init-from",
                                                                 "allow-missing",
                                                                 "timeout",
                                                                 "zero-stage",
                                                                 "device",
                                                                 "offload",
                                                                 "gpu-transport",
                                                                 "activation-checkpointing",
                                                                 "bucket-mib",
                                                                 "units",
                                                                 "prefetch-units",
                                                                 "replicate-between-nodes",
                                                                 "prefetch",
                                                                 "data"});

constexpr const char* kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

}  // namespace

bool is_circumstance(const std::string& option_name) {
  return std::find(kCircumstances.begin(), kCircumstances.end(), option_name) !=
         kCircumstances.end();
}

std::filesystem::path TrainerOptions::run_directory() const {
  const std::filesystem::path directory(checkpoint_dir);
  return run.empty() ? directory : directory / run;
}

std::string TrainerOptions::upload_url() const {
  if (checkpoint_upload.empty() || run.empty()) return checkpoint_upload;
  return checkpoint_upload + (checkpoint_upload.ends_with('/') ? "" : "/") + run;
}

std::vector<std::string> TrainerOptions::validate() const {
  std::vector<std::string> problems;
  const auto require = [&](bool good, const char* flag, const char* expected, const auto& found) {
    if (!good)
      problems.push_back(std::string(flag) + ": expected " + expected + ", found " +
                         std::to_string(found));
  };
  require(logical_ranks >= 1 && logical_ranks <= 65536, "--logical-ranks", "1 to 65536",
          logical_ranks);
  require(micro_batch >= 0, "--micro-batch", "1 or more, or auto", micro_batch);
  require(memory_gib >= 0 && memory_gib < 1e9, "--memory-gib", "0 to 1000000000", memory_gib);
  if (micro_batch == 0) {
    require(global_batch >= 1 && global_batch % std::max<std::int64_t>(1, logical_ranks) == 0,
            "--micro-batch auto", "a --global-batch that is a multiple of --logical-ranks",
            global_batch);
    require(memory_gib > 0, "--micro-batch auto", "a --memory-gib above 0", memory_gib);
    require(accumulation_steps == 1, "--micro-batch auto",
            "no --accumulation-steps, which follow from it", accumulation_steps);
  } else if (global_batch != 0) {
    require(global_batch == logical_ranks * accumulation_steps * micro_batch, "--global-batch",
            "logical ranks x accumulation steps x micro-batch", global_batch);
  }
  require(epochs >= 0, "--epochs", "0 or more", epochs);
  require(steps >= 0, "--steps", "0 or more", steps);
  require(threads >= 1 && threads <= 4096, "--threads", "1 to 4096", threads);
  try {
    for (const std::string& problem : learning_rate_schedule(0).validate())
      problems.push_back(problem);
  } catch (const ConfigError& e) {
    problems.push_back(e.what());
  }
  require(tokens >= 0, "--tokens", "0 or more", tokens);
  require(minutes >= 0 && minutes <= 1e9, "--minutes", "0 to 1000000000", minutes);
  if (!run.empty()) {
    if (checkpoint_dir.empty())
      problems.push_back("--run: expected a --checkpoint-dir beside it, found none");
    if (run.front() == '.' || run.find_first_not_of(kNameCharacters) != std::string::npos) {
      problems.push_back("--run: expected letters, digits, '-', '_' and '.' (not first), found '" +
                         run + "'");
    }
  }
  if (!score.empty()) {
    try {
      internal::parse_score(score);
    } catch (const ConfigError& e) {
      problems.push_back(e.what());
    }
  }
  require(patience >= 0, "--patience", "0 or more", patience);
  require(patience == 0 || !score.empty(), "--patience", "a --score beside it", patience);
  require(min_delta >= 0 && std::isfinite(min_delta), "--min-delta", "0 or more", min_delta);
  if (init_from.empty() && !allow_missing.empty())
    problems.push_back("--allow-missing: expected an --init-from beside it, found none");
  require(checkpoint_every >= 0, "--checkpoint-every", "0 or more", checkpoint_every);
  require(checkpoint_every == 0 || !checkpoint_dir.empty(), "--checkpoint-every",
          "a --checkpoint-dir beside it", checkpoint_every);
  require(snapshot_every >= 0, "--snapshot-every", "0 or more", snapshot_every);
  require(snapshot_every == 0 || !checkpoint_dir.empty(), "--snapshot-every",
          "a --checkpoint-dir beside it", snapshot_every);
  require(keep_checkpoints >= 1, "--keep-checkpoints", "1 or more", keep_checkpoints);
  require(keep_every >= 0, "--keep-every", "0 or more", keep_every);
  require(keep_best >= 0 && keep_best <= std::numeric_limits<int>::max(), "--keep-best",
          "0 or more", keep_best);
  require(keep_best == 0 || !score.empty(), "--keep-best", "a --score beside it", keep_best);
  require(checkpoint_staging_mib >= 0 && checkpoint_staging_mib <= (std::int64_t{1} << 40),
          "--checkpoint-staging-mib", "0 or more", checkpoint_staging_mib);
  require(checkpoint_failures >= 0, "--checkpoint-failures", "0 or more", checkpoint_failures);
  const bool is_url = checkpoint_upload.starts_with("s3://") && checkpoint_upload.size() > 5;
  if (!checkpoint_upload.empty() && !is_url)
    problems.push_back("--checkpoint-upload: expected s3://BUCKET/PREFIX, found '" +
                       checkpoint_upload + "'");
  if (!checkpoint_upload.empty() && checkpoint_dir.empty())
    problems.push_back("--checkpoint-upload: expected a --checkpoint-dir beside it, found none");
  require(eval_every >= 0, "--eval-every", "0 or more", eval_every);
  require(eval_batch >= 1, "--eval-batch", "1 or more", eval_batch);
  require(log_every >= 1, "--log-every", "1 or more", log_every);
  require(timeout_s > 0 && timeout_s <= 1e6, "--timeout", "above 0, at most 1000000", timeout_s);
  require(prefetch >= 1 && prefetch <= 4096, "--prefetch", "1 to 4096", prefetch);
  try {
    for (const std::string& problem : engine_options().validate()) problems.push_back(problem);
  } catch (const ConfigError& e) {
    problems.push_back(e.what());
  }
  return problems;
}

namespace {

OptimizerKind kind_of(const std::string& optimizer) {
  if (optimizer == "sgd") return OptimizerKind::kSgd;
  if (optimizer == "adam") return OptimizerKind::kAdam;
  if (optimizer == "adamw") return OptimizerKind::kAdamW;
  if (optimizer == "lion") return OptimizerKind::kLion;
  if (optimizer == "lamb") return OptimizerKind::kLamb;
  if (optimizer == "adafactor") return OptimizerKind::kAdafactor;
  throw ConfigError("--optimizer: expected sgd, adam, adamw, lion, lamb or adafactor, found '" +
                    optimizer + "'; choose one of them");
}

/// One of the choices of --precision.
Precision precision_of(const std::string& precision) {
  if (precision == "bf16-mixed") return Precision::kBFloat16Mixed;
  if (precision == "fp16-mixed") return Precision::kFloat16Mixed;
  return precision == "bf16" ? Precision::kBFloat16 : Precision::kFloat32;
}

}  // namespace

EngineOptions TrainerOptions::engine_options() const {
  EngineOptions engine;
  engine.logical_ranks = static_cast<int>(logical_ranks);
  engine.accumulation_steps = accumulation_steps;
  engine.seed = static_cast<std::uint64_t>(seed);
  engine.optimizer = {.kind = kind_of(optimizer),
                      .weight_decay = weight_decay,
                      .beta1 = beta1,
                      .beta2 = beta2,
                      .epsilon = epsilon,
                      .momentum = momentum,
                      .dampening = dampening,
                      .nesterov = nesterov,
                      .groups = parse_parameter_groups(parameter_groups)};
  engine.precision = precision_of(precision);
  engine.reduction = reduction == "fast" ? Reduction::kFast : Reduction::kExact;
  engine.initial_loss_scale = loss_scale;
  engine.loss_scale_growth_interval = loss_scale_interval;
  engine.clip_norm = clip_norm;
  engine.clip_value = clip_value;
  engine.ema_decay = ema;
  engine.ema_warmup = ema_warmup;
  engine.zero_stage = static_cast<int>(zero_stage);
  engine.gpu_transport = gpu_transport;
  engine.offload_optimizer = offload == "optimizer";
  engine.bucket_mib = bucket_mib;
  engine.units = split_patterns(units);
  engine.prefetch_units = prefetch_units;
  engine.replicate_between_nodes = replicate_between_nodes;
  return engine;
}

Schedule TrainerOptions::learning_rate_schedule(std::int64_t total_steps) const {
  Schedule result{.base_rate = learning_rate,
                  .warmup_steps = warmup_steps,
                  .total_steps = total_steps,
                  .min_factor = min_learning_rate_factor,
                  .power = schedule_power,
                  .step_size = step_size,
                  .gamma = gamma,
                  .pct_start = pct_start,
                  .div_factor = div_factor,
                  .final_div_factor = final_div_factor};
  parse_schedule(schedule, result);
  return result;
}

}  // namespace muster
