// Classifies Fashion-MNIST in a loop of its own, without a Trainer: muster run -n 2 -- hand_loop
#include <torch/torch.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>

#include "muster/base/error.h"
#include "muster/base/hash.h"
#include "muster/base/options.h"
#include "muster/collectives/world.h"
#include "muster/data_loader/data_loader.h"
#include "muster/data_loader/idx_file.h"
#include "muster/data_loader/tensor_dataset.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/schedule.h"

namespace nn = torch::nn;

struct Options {
  std::string data = "/usr/share/datasets/fashion-mnist";
  int64_t steps = 500;
  int64_t logical_ranks = 4;
  int64_t micro_batch = 16;
  int64_t zero_stage = 1;

  void bind(muster::OptionSet& set) {
    set.add("data", &data, "Directory of the four .gz files");
    set.add("steps", &steps, "Updates to make");
    set.add("logical-ranks", &logical_ranks, "As many ranks at most; bits depend on it alone");
    set.add("micro-batch", &micro_batch, "Samples of a logical rank in a step");
    set.add("zero-stage", &zero_stage, "What ranks share, 0 to 3");
  }
};

std::shared_ptr<const muster::Dataset> pictures(const std::filesystem::path& directory) {
  return std::make_shared<muster::TensorDataset>(std::vector<muster::TensorDataset::Column>{
      {"image", muster::read_idx(directory / "train-images-idx3-ubyte.gz").unsqueeze(1),
       muster::FloatConversion{{0.2860}, {0.3530}}},
      {"label", muster::read_idx(directory / "train-labels-idx1-ubyte.gz").to(torch::kLong)}});
}

/// Collective. Of parameters, buffers and optimizer state.
std::string hash_of(muster::Engine& engine) {
  muster::Hash128 hash;
  for (const muster::StateTensor& tensor : engine.whole_state()) {
    hash.update(tensor.name);
    hash.update(tensor.flat.const_data_ptr(), tensor.flat.nbytes());
  }
  return hash.hex();
}

void train(const muster::RankEnv& env, const Options& options) {
  torch::set_num_threads(1);  // threads and seeds belong to the job: the bits depend on them
  torch::manual_seed(1);
  muster::World world = muster::World::create(env, {});
  nn::Sequential model(nn::Conv2d(1, 16, 5), nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(16, 32, 5),
                       nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Dropout(0.25),
                       nn::Linear(32 * 4 * 4, 10));
  muster::EngineOptions engine_options;
  engine_options.logical_ranks = static_cast<int>(options.logical_ranks);
  engine_options.zero_stage = static_cast<int>(options.zero_stage);
  engine_options.seed = 1;
  muster::Engine engine(*model, world.communicator(), engine_options);
  muster::LoaderOptions loader_options;
  loader_options.logical_ranks = engine_options.logical_ranks;
  loader_options.first_logical_rank = engine.logical_ranks().begin;
  loader_options.end_logical_rank = engine.logical_ranks().end;
  loader_options.micro_batch = options.micro_batch;
  muster::DataLoader loader(pictures(options.data), loader_options);
  const muster::Schedule schedule{.kind = muster::ScheduleKind::kCosine,
                                  .base_rate = 2e-3,
                                  .warmup_steps = options.steps / 20,
                                  .total_steps = options.steps};

  while (engine.step() < options.steps) {
    engine.begin_step();
    for (const muster::MicroStep& micro : engine.micro_steps()) {
      const muster::Batch batch = loader.next().batch;
      engine.begin_micro_step(micro);
      if (batch.size() == 0) continue;  // the short step at an epoch's end
      const torch::Tensor loss =
          nn::functional::cross_entropy(model->forward(batch["image"]), batch["label"]);
      engine.backward(loss, static_cast<double>(batch.size()));
    }
    const muster::StepReport report = engine.finish_step(schedule.rate(engine.step()));
    if (env.rank == 0 && report.step % 50 == 0)
      std::printf("step %lld: loss %.4f\n", static_cast<long long>(report.step), report.loss);
  }

  const std::string hash = hash_of(engine);
  if (env.rank == 0) std::printf("state %s\n", hash.c_str());
  world.communicator().barrier().wait();  // a rank that leaves early is a lost one
}

int main(int argc, char** argv) {
  try {
    Options options;
    muster::OptionSet set("hand_loop", "Trains in a loop of its own\n");
    options.bind(set);
    const muster::RankEnv env = muster::RankEnv::from_environment();
    if (set.parse(argc, argv) == muster::OptionSet::Outcome::kRun) {
      train(env, options);
    } else if (env.rank == 0) {
      std::printf("%s", set.help().c_str());
    }
    return 0;
  } catch (const muster::Error& error) {
    std::fprintf(stderr, "hand_loop: %s: %s\n", error.kind(), error.what());
    std::_Exit(static_cast<int>(error.exit_code()));  // MPI would wait for ranks that are lost
  }
}
