// An Engine over this world's ranks gives the bits of an Engine alone: batch norm, dropout, tied
// and unused parameters included.
#include "muster/trainer/engine.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>

#include "muster/collectives/world.h"

namespace muster {
namespace {

constexpr int kLogicalRanks = 5;
constexpr int kSteps = 6;

struct Net : torch::nn::Module {
  Net() {
    embedding = register_module("embedding", torch::nn::Embedding(11, 16));
    norm = register_module("norm", torch::nn::BatchNorm1d(16));
    dropout = register_module("dropout", torch::nn::Dropout(0.2));
    unused = register_module("unused", torch::nn::Linear(3, 3));
    sometimes = register_module("sometimes", torch::nn::Linear(16, 16));
    frozen = register_parameter("frozen", torch::full({16}, 0.5), /*requires_grad=*/false);
  }

  torch::Tensor forward(const torch::Tensor& ids, bool use_all) {
    torch::Tensor x = dropout(norm(embedding(ids)) * frozen);
    if (use_all) x = x + torch::relu(sometimes(x));
    return torch::linear(x, embedding->weight);  // tied
  }

  torch::nn::Embedding embedding{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout dropout{nullptr};
  torch::nn::Linear unused{nullptr}, sometimes{nullptr};
  torch::Tensor frozen;
};

struct Outcome {
  std::vector<StateTensor> state;
  std::vector<double> losses, norms;
};

Outcome train(Communicator& communicator, std::int64_t accumulation_steps, OptimizerKind kind,
              std::int64_t bucket_mib) {
  torch::manual_seed(communicator.rank());  // rank 0's values must win
  Net net;
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.accumulation_steps = accumulation_steps;
  options.seed = 3;
  options.clip_norm = 0.05;
  options.bucket_mib = bucket_mib;
  options.optimizer.kind = kind;
  options.optimizer.weight_decay = 0.1;
  Engine engine(net, communicator, options);
  Outcome outcome;
  for (int step = 0; step < kSteps; ++step) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      // Logical rank 4 has a ragged batch, and none at all in the last step.
      const bool last = micro.logical_rank == kLogicalRanks - 1;
      if (last && step == kSteps - 1) continue;
      const std::int64_t samples = last ? 3 : 8;
      const std::int64_t first = step * 31 + micro.logical_rank * 7 + micro.micro_step;
      const torch::Tensor ids = torch::arange(first, first + samples).remainder(11);
      const bool use_all = (step + micro.logical_rank) % 3 != 0;
      const torch::Tensor loss =
          torch::nn::functional::cross_entropy(net.forward(ids, use_all), ids);
      engine.backward(loss, static_cast<double>(samples));
    }
    const StepReport report = engine.finish_step(0.01);
    outcome.losses.push_back(report.loss);
    outcome.norms.push_back(report.gradient_norm);
  }
  for (StateTensor& tensor : engine.state()) {
    tensor.flat = tensor.flat.clone();
    outcome.state.push_back(tensor);
  }
  return outcome;
}

void expect_equal_bits(const Outcome& expected, const Outcome& found) {
  EXPECT_EQ(expected.losses, found.losses);
  EXPECT_EQ(expected.norms, found.norms);
  ASSERT_EQ(expected.state.size(), found.state.size());
  for (std::size_t i = 0; i < expected.state.size(); ++i) {
    const at::Tensor& a = expected.state[i].flat;
    const at::Tensor& b = found.state[i].flat;
    EXPECT_EQ(expected.state[i].name, found.state[i].name);
    ASSERT_EQ(a.nbytes(), b.nbytes());
    EXPECT_EQ(std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()), 0)
        << expected.state[i].name;
  }
}

// The reference is made first, in a world of its own, by every rank for itself.
struct Case {
  std::int64_t accumulation_steps;
  OptimizerKind kind;
};
const Case kCases[] = {
    {1, OptimizerKind::kAdamW}, {2, OptimizerKind::kAdamW}, {1, OptimizerKind::kSgd}};

std::vector<Outcome> references() {
  World alone = World::create(RankEnv{}, WorldOptions{});
  std::vector<Outcome> outcomes;
  for (const Case& c : kCases) {
    outcomes.push_back(train(alone.communicator(), c.accumulation_steps, c.kind, 16));
  }
  return outcomes;
}

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test
std::vector<Outcome>* g_references = nullptr;

TEST(Engine, GivesTheBitsOfOneRankAlone) {
  for (std::size_t i = 0; i < std::size(kCases); ++i) {
    SCOPED_TRACE(i);
    expect_equal_bits((*g_references)[i],
                      train(*g_communicator, kCases[i].accumulation_steps, kCases[i].kind, 1));
  }
}

TEST(Engine, TheModelDidLearnSomething) {
  const Outcome& outcome = g_references->front();
  EXPECT_GT(outcome.losses.front(), outcome.losses.back());
  for (const double norm : outcome.norms) EXPECT_GT(norm, 0.05);  // so that clipping acts
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  std::vector<muster::Outcome> references = muster::references();
  const muster::RankEnv env = muster::RankEnv::from_environment();
  if (env.world_size > muster::kLogicalRanks) return 64;
  muster::World world = muster::World::create(env, {.timeout = std::chrono::seconds(30)});
  muster::g_communicator = &world.communicator();
  muster::g_references = &references;
  return RUN_ALL_TESTS();
}
