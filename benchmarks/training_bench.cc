// Measures a training step of the example's GPT on random tokens: muster run -n 2 --
// training_bench.
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <string>
#include <vector>

#include "gpt.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/options.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"

namespace {

struct Options {
  GptOptions gpt;
  std::int64_t batch = 2;
  std::int64_t steps = 20;
  std::int64_t warmup = 3;
  std::int64_t zero_stage = 1;
  std::int64_t bucket_mib = 16;
  double clip_norm = 0;
  std::string reduction = "exact";
  std::int64_t logical_ranks = 0;

  /// How a row of figures calls them.
  std::string mode() const {
    return "stage " + std::to_string(zero_stage) + (reduction == "fast" ? " fast" : "") +
           (logical_ranks > 0 ? " L " + std::to_string(logical_ranks) : "");
  }

  void bind(muster::OptionSet& set) {
    set.add("width", &gpt.width, "Of the model");
    set.add("layers", &gpt.layers, "Transformer blocks");
    set.add("heads", &gpt.heads, "Attention heads in a block");
    set.add("context", &gpt.context, "Tokens of a sample");
    set.add("batch", &batch, "Samples a logical rank takes in a step");
    set.add("steps", &steps, "Steps to time");
    set.add("warmup", &warmup, "Steps before them");
    set.add("zero-stage", &zero_stage, "0 to 3");
    set.add("bucket-mib", &bucket_mib, "MiB of gradients reduced in one collective");
    set.add("clip-norm", &clip_norm, "Largest global gradient norm; 0: no clipping");
    set.add_choice("reduction", &reduction, {"exact", "fast"},
                   "Order in which gradients are summed");
    set.add("logical-ranks", &logical_ranks, "0: one a rank");
  }
};

/// The step's time in milliseconds.
double timed_step(muster::Engine& engine, Gpt& model, const Options& options) {
  const auto started = std::chrono::steady_clock::now();
  engine.begin_step();
  for (const muster::MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    const torch::Tensor ids =
        torch::randint(options.gpt.vocabulary, {options.batch, options.gpt.context + 1});
    const torch::Tensor logits = model->forward(ids.narrow(1, 0, options.gpt.context));
    const torch::Tensor loss = torch::nn::functional::cross_entropy(
        logits.flatten(0, 1), ids.narrow(1, 1, options.gpt.context).flatten());
    engine.backward(loss, static_cast<double>(options.batch));
  }
  engine.finish_step(1e-3);
  return std::chrono::duration<double, std::milli>(std::chrono::steady_clock::now() - started)
      .count();
}

int run(int argc, char** argv) {
  Options options;
  options.gpt.dropout = 0;
  muster::OptionSet set("training_bench",
                        "Measures training steps: muster run -n 2 -- training_bench\n");
  options.bind(set);
  const muster::RankEnv env = muster::RankEnv::from_environment();
  if (set.parse(argc, argv) == muster::OptionSet::Outcome::kHelp) {
    if (env.rank == 0) std::printf("%s", set.help().c_str());
    return 0;
  }
  torch::set_num_threads(1);
  torch::manual_seed(0);
  muster::World world = muster::World::create(env, {});
  Gpt model(options.gpt);
  muster::EngineOptions engine_options;
  engine_options.logical_ranks =
      options.logical_ranks > 0 ? static_cast<int>(options.logical_ranks) : env.world_size;
  engine_options.reduction =
      options.reduction == "fast" ? muster::Reduction::kFast : muster::Reduction::kExact;
  engine_options.zero_stage = static_cast<int>(options.zero_stage);
  engine_options.bucket_mib = options.bucket_mib;
  engine_options.clip_norm = options.clip_norm;
  engine_options.optimizer.weight_decay = 0.01;
  muster::Engine engine(*model, world.communicator(), engine_options);
  for (std::int64_t i = 0; i < options.warmup; ++i) timed_step(engine, model, options);
  std::vector<double> times;
  for (std::int64_t i = 0; i < options.steps; ++i) {
    times.push_back(timed_step(engine, model, options));
  }
  std::int64_t parameters = 0;
  for (const torch::Tensor& parameter : model->parameters()) parameters += parameter.numel();
  std::sort(times.begin(), times.end());
  if (env.rank == 0) {
    const muster::Json row = {{"library", "muster"},       {"mode", options.mode()},
                              {"parameters", parameters},  {"median_ms", times[times.size() / 2]},
                              {"least_ms", times.front()}, {"most_ms", times.back()}};
    std::printf("%s\n", row.dump().c_str());
  }
  world.communicator().barrier().wait();
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const muster::Error& error) {
    std::fprintf(stderr, "training_bench: %s\n", error.what());
    return static_cast<int>(error.exit_code());
  }
}
