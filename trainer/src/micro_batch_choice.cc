// Candidates measured from the smallest on.
#include "micro_batch_choice.h"

#include <ATen/ops/full.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "engine_layout.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/log.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/trainer/memory_plan.h"
#include "plan_report.h"
#include "run_directory.h"
#include "run_together.h"
#include "text_exchange.h"
#include "training_parts.h"

namespace muster::internal {
namespace {

std::string in_mib(std::int64_t bytes) {
  return std::to_string((bytes + (1 << 20) - 1) >> 20) + " MiB";
}

struct Measured {
  std::int64_t micro_batch = 0;
  std::int64_t bytes = 0;
};

std::int64_t extrapolate(const Measured& first, const Measured& second, std::int64_t micro_batch) {
  const double slope = static_cast<double>(second.bytes - first.bytes) /
                       static_cast<double>(second.micro_batch - first.micro_batch);
  return second.bytes +
         static_cast<std::int64_t>(slope * static_cast<double>(micro_batch - second.micro_batch));
}

Batch first_samples(const Batch& batch, std::int64_t samples) {
  Batch part;
  const std::int64_t n = std::min(samples, batch.size());
  for (const auto& [name, tensor] : batch.tensors)
    part.tensors.emplace_back(name, tensor.narrow(0, 0, n));
  part.sample_ids.assign(batch.sample_ids.begin(), batch.sample_ids.begin() + n);
  return part;
}

/// What a rank would hold with micro-batches of one size, of which one is run.
class Scales {
 public:
  /// `samples` are a logical rank's of a step.
  Scales(Trainer& trainer, World& world, std::int64_t samples)
      : trainer_(trainer), world_(world), samples_(samples), model_(build_model(trainer)) {
    trainer.options.micro_batch = samples;
    batch_ = first_micro_batch(trainer);
  }

  std::int64_t planned(std::int64_t micro_batch) const {
    EngineOptions options = engine_options_of(trainer_);
    options.accumulation_steps = samples_ / micro_batch;
    const MemoryUse use = plan_memory(*model_, options, world_.env().world_size);
    const bool gathers =
        parameter_form(world_.communicator(), options, at::kCPU) == ParameterForm::kGathered;
    return use.total() + (gathers ? use.blocks : 0);
  }

  std::int64_t measured(std::int64_t micro_batch) {
    const MeasuredMemory measured =
        measure_memory(trainer_, *model_, first_samples(batch_, micro_batch));
    if (!process_) process_ = measured.process;
    return measured.activations + *process_;
  }

 private:
  Trainer& trainer_;
  World& world_;
  std::int64_t samples_;
  std::shared_ptr<torch::nn::Module> model_;
  Batch batch_;
  std::optional<std::int64_t> process_;  // before any of the passes
};

/// The job of the newest checkpoint of the run, or, where ranks were restarted before the first
/// one, of the ranks before them; as text, empty where there is none.
std::string known_job(const TrainerOptions& options, const RankEnv& env) {
  if (env.rank != 0 || options.checkpoint_dir.empty()) return "";
  if (options.fresh && env.generation == 0) return "";
  const auto files = make_system_env();
  const std::vector<checkpoint::Info> all =
      checkpoint::CheckpointStore(options.run_directory(), *files).list();
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    if (!info->complete) continue;
    const Json state = checkpoint::Checkpoint::open(info->path, *files).manifest().run_state;
    return state.value("job", Json::object()).dump();
  }
  const std::filesystem::path file = options.run_directory() / kJobFile;
  return env.generation > 0 && files->exists(file) ? files->read_text(file) : "";
}

/// What the smallest rank has room for.
MicroBatchChoice measure_choice(Trainer& trainer, World& world) {
  TrainerOptions& options = trainer.options;
  const std::int64_t samples = options.global_batch / options.logical_ranks;
  const auto budget = static_cast<std::int64_t>(options.memory_gib * (1 << 30));
  MicroBatchChoice choice;
  run_together(world.communicator(), [&] {
    Scales scales(trainer, world, samples);
    choice = choose_micro_batch(
        samples, budget,
        {.planned = [&](std::int64_t micro_batch) { return scales.planned(micro_batch); },
         .measured = [&](std::int64_t micro_batch) { return scales.measured(micro_batch); }});
  });
  at::Tensor least = at::full({1}, choice.micro_batch, at::kLong);
  world.communicator().all_reduce(least, ReduceOp::kMin).wait();
  choice.micro_batch = least.item<std::int64_t>();
  return choice;
}

std::string reason(const MicroBatchChoice& choice, double memory_gib) {
  std::string text = "a rank needs " + in_mib(choice.bytes);
  if (choice.next_micro_batch > 0) {
    text += "; with micro-batches of " + std::to_string(choice.next_micro_batch) +
            " it would need " + in_mib(choice.next_bytes);
  }
  return text + " of " + in_mib(static_cast<std::int64_t>(memory_gib * (1 << 30)));
}

}  // namespace

MicroBatchChoice choose_micro_batch(std::int64_t samples, std::int64_t budget_bytes,
                                    const MicroBatchNeeds& needs) {
  MicroBatchChoice choice;
  std::vector<Measured> measured;
  for (std::int64_t m = 1; m <= samples; ++m) {
    if (samples % m != 0) continue;
    const std::size_t n = measured.size();
    const std::int64_t planned = needs.planned(m);
    std::int64_t bytes = planned;
    if (n == 1) bytes += measured[0].bytes;
    if (n >= 2) bytes += extrapolate(measured[n - 2], measured[n - 1], m);
    if (bytes <= budget_bytes) {
      measured.push_back({m, needs.measured(m)});
      bytes = planned + measured.back().bytes;
    }
    if (bytes <= budget_bytes) {
      choice = {.micro_batch = m, .bytes = bytes};
    } else if (choice.next_micro_batch == 0) {
      choice.next_micro_batch = m;
      choice.next_bytes = bytes;
    }
  }
  return choice;
}

void resolve_micro_batch(Trainer& trainer, World& world) {
  TrainerOptions& options = trainer.options;
  std::string job;
  run_together(world.communicator(), [&] { job = known_job(options, world.env()); });
  job = broadcast_text(world.communicator(), job);
  std::string why;
  if (!job.empty()) {
    const std::string origin = options.run_directory().string();
    const Json known = parse_json(job, origin);
    options.micro_batch = json_field<std::int64_t>(known, "micro-batch", origin);
    options.accumulation_steps = json_field<std::int64_t>(known, "accumulation-steps", origin);
    why = "as the run has had them";
  } else {
    const MicroBatchChoice choice = measure_choice(trainer, world);
    run_alike(world.communicator(), [&] {
      if (choice.micro_batch > 0) return;
      throw ConfigError("--memory-gib: expected room for a micro-batch of one sample, found that " +
                        in_mib(choice.next_bytes) +
                        " are needed; give more, a higher --zero-stage or more ranks");
    });
    options.micro_batch = choice.micro_batch;
    options.accumulation_steps = options.global_batch / options.logical_ranks / choice.micro_batch;
    why = reason(choice, options.memory_gib);
  }
  if (world.env().rank != 0) return;
  MUSTER_LOG(INFO) << "micro-batch auto: " << options.micro_batch << " samples, "
                   << options.accumulation_steps << " accumulation steps, global batch "
                   << options.global_batch << " (" << why
                   << "); both are now part of the job, as if they had been given";
}

}  // namespace muster::internal
