// An Engine over this world's ranks gives the bits of an Engine alone: batch norm, dropout, tied
// and unused parameters included.
#include "muster/trainer/engine.h"

#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstring>
#include <functional>
#include <sstream>
#include <string>
#include <utility>
#include <vector>

#include "muster/collectives/world.h"
#include "trainer/odd_net.h"
#include "trainer/outcome.h"
#include "trainer/test_world.h"
#include "trainer/watched_communicator.h"

namespace muster {
namespace {

constexpr int kMostLogicalRanks = 5;
constexpr int kSteps = 6;

struct Case {
  int logical_ranks;
  std::int64_t accumulation_steps;
  OptimizerKind kind;
  double clip_norm;
  double clip_value = 0;
  double ema_decay = 0;
  std::vector<ParameterGroup> groups = {};
  Precision precision = Precision::kFloat32;
  Reduction reduction = Reduction::kExact;
};

Outcome train(Communicator& communicator, const Case& c, int zero_stage, std::int64_t bucket_mib,
              bool offload_optimizer = false) {
  torch::manual_seed(communicator.rank());  // rank 0's values must win
  OddNet net;
  EngineOptions options;
  options.logical_ranks = c.logical_ranks;
  options.accumulation_steps = c.accumulation_steps;
  options.seed = 3;
  options.clip_norm = c.clip_norm;
  options.zero_stage = zero_stage;
  options.offload_optimizer = offload_optimizer;
  options.precision = c.precision;
  options.reduction = c.reduction;
  options.initial_loss_scale = 131072;  // overflows in the first steps
  options.bucket_mib = bucket_mib;
  options.optimizer.kind = c.kind;
  options.optimizer.weight_decay = 0.1;
  options.optimizer.groups = c.groups;
  options.clip_value = c.clip_value;
  options.ema_decay = c.ema_decay;
  Engine engine(net, communicator, options);
  Outcome outcome;
  for (int step = 0; step < kSteps; ++step) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      // The last logical rank has a ragged batch, and none at all in the last step.
      const bool last = c.logical_ranks > 1 && micro.logical_rank == c.logical_ranks - 1;
      if (last && step == kSteps - 1) continue;
      const std::int64_t samples = last ? 3 : 8;
      const std::int64_t first = step * 31 + micro.logical_rank * 7 + micro.micro_step;
      const torch::Tensor ids = torch::arange(first, first + samples).remainder(11);
      const bool use_all = (step + micro.logical_rank) % 3 != 0;
      torch::Tensor loss;
      {
        const Autocast autocast(c.precision);
        loss = torch::nn::functional::cross_entropy(net.forward(ids, use_all), ids);
      }
      engine.backward(loss, static_cast<double>(samples));
    }
    const StepReport report = engine.finish_step(0.01);
    outcome.losses.push_back(report.loss);
    outcome.norms.push_back(report.gradient_norm);
    outcome.skipped += report.skipped;
  }
  const auto add_state = [&](const std::string& prefix) {
    for (StateTensor& tensor : copy_of(engine.whole_state())) {
      tensor.name = prefix + tensor.name;
      outcome.state.push_back(tensor);
    }
  };
  add_state("");
  if (c.ema_decay > 0) {
    engine.swap_average();
    add_state("averaged ");
    engine.swap_average();
    add_state("again ");
  }
  return outcome;
}

// As many logical ranks as ranks is a way of its own: each has one micro-step.
std::vector<Case> cases(int world_size) {
  return {
      {kMostLogicalRanks, 1, OptimizerKind::kAdamW, 0.05},
      {kMostLogicalRanks, 2, OptimizerKind::kAdamW, 0.05},
      {kMostLogicalRanks, 1, OptimizerKind::kSgd, 0.0},
      {world_size, 1, OptimizerKind::kAdamW, 0.0},
      {world_size, 1, OptimizerKind::kSgd, 0.05},
      {world_size, 1, OptimizerKind::kAdamW, 0.05, 0, 0, {}, Precision::kBFloat16Mixed},
      {world_size, 1, OptimizerKind::kAdamW, 0.05, 0, 0, {}, Precision::kBFloat16},
      {kMostLogicalRanks, 2, OptimizerKind::kLamb, 0.0, 0, 0.5, {}, Precision::kBFloat16},
      {kMostLogicalRanks, 1, OptimizerKind::kAdam, 0.0, 1e-3},
      {kMostLogicalRanks, 1, OptimizerKind::kLamb, 0.0, 0.0, 0.5},
      {kMostLogicalRanks, 1, OptimizerKind::kAdafactor, 0.05},
      {kMostLogicalRanks, 1, OptimizerKind::kLion, 0.0, 1e-3, 0.5, {{"*.bias", 0.5, 0.2}}},
      {kMostLogicalRanks, 1, OptimizerKind::kLamb, 0.0, 0.0, 0.5, {}, Precision::kFloat16Mixed}};
}

// The references are made first, in a world of its own, by rank 0.
std::vector<Outcome> references(int world_size) {
  World alone = World::create(RankEnv{}, WorldOptions{});
  std::vector<Outcome> outcomes;
  for (const Case& c : cases(world_size)) {
    outcomes.push_back(train(alone.communicator(), c, /*zero_stage=*/0, /*bucket_mib=*/16));
  }
  return outcomes;
}

Communicator* g_communicator = nullptr;        // gtest hands nothing to a test
std::vector<Outcome>* g_references = nullptr;  // empty but on rank 0

/// Rank 0 compares with its reference, the others with rank 0.
void expect_reference(std::size_t index, const Outcome& found) {
  const std::string own = hash_of(found);
  at::Tensor letters = torch::zeros({static_cast<std::int64_t>(own.size())}, torch::kByte);
  std::memcpy(letters.mutable_data_ptr(), own.data(), own.size());
  g_communicator->broadcast(letters, 0).wait();
  EXPECT_EQ(std::memcmp(letters.const_data_ptr(), own.data(), own.size()), 0) << "not as on rank 0";
  if (g_communicator->rank() == 0) expect_equal_bits((*g_references)[index], found);
}

class EngineAtStage : public testing::TestWithParam<int> {};

TEST_P(EngineAtStage, GivesTheBitsOfOneRankAlone) {
  const std::vector<Case> all = cases(g_communicator->world_size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    expect_reference(i, train(*g_communicator, all[i], GetParam(), 1));
  }
}

INSTANTIATE_TEST_SUITE_P(Zero, EngineAtStage, testing::Values(0, 1, 2, 3));

// On the CPU weights and gradients then only lie in other memory.
TEST(Engine, AnOffloadedOptimizerGivesTheSameBits) {
  const std::vector<Case> all = cases(g_communicator->world_size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    SCOPED_TRACE(i);
    const int zero_stage = static_cast<int>(i % 4);
    expect_reference(i, train(*g_communicator, all[i], zero_stage, 1, /*offload_optimizer=*/true));
  }
}

class FastReductionAtStage : public testing::TestWithParam<int> {};

TEST_P(FastReductionAtStage, HasTheSameSumsInAnotherOrder) {
  const int world_size = g_communicator->world_size();
  for (const auto& [logical_ranks, accumulation_steps] :
       {std::pair{world_size, 1}, {kMostLogicalRanks, 1}, {kMostLogicalRanks, 2}}) {
    SCOPED_TRACE(std::to_string(logical_ranks) + " x " + std::to_string(accumulation_steps));
    Case c{logical_ranks, accumulation_steps, OptimizerKind::kSgd, 0.05};
    const Outcome exact = train(*g_communicator, c, GetParam(), 1);
    c.reduction = Reduction::kFast;
    const Outcome fast = train(*g_communicator, c, GetParam(), 1);
    expect_equal_bits(fast, train(*g_communicator, c, GetParam(), 1));
    // Where each rank has one logical rank, shared memory's own order is the tree.
    if (logical_ranks == world_size) expect_equal_bits(exact, fast);
    // Six steps of sums of at most ten gradients; a step forgotten would show in the first digits.
    for (std::size_t i = 0; i < exact.losses.size(); ++i)
      EXPECT_NEAR(fast.losses[i], exact.losses[i], 1e-5 * exact.losses[i]) << i;
    for (std::size_t i = 0; i < exact.norms.size(); ++i)
      EXPECT_NEAR(fast.norms[i], exact.norms[i], 1e-3 * exact.norms[i]) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Zero, FastReductionAtStage, testing::Values(0, 1, 2, 3));

TEST(Engine, TheAverageOfWeightsTakesTheirPlaceAndLeavesIt) {
  for (const Outcome& outcome : *g_references) {
    if (outcome.state.back().name.rfind("again ", 0) != 0) continue;
    for (const char* name : {"embedding.weight", "narrow.bias"}) {
      const at::Tensor& weights = tensor(outcome, std::string("model.") + name);
      const at::Tensor& average = tensor(outcome, std::string("ema.") + name);
      EXPECT_FALSE(torch::equal(weights, average)) << name;
      EXPECT_TRUE(torch::equal(average, tensor(outcome, std::string("averaged model.") + name)));
      EXPECT_TRUE(torch::equal(weights, tensor(outcome, std::string("averaged ema.") + name)));
      EXPECT_TRUE(torch::equal(weights, tensor(outcome, std::string("again model.") + name)));
      EXPECT_TRUE(torch::equal(average, tensor(outcome, std::string("again ema.") + name)));
    }
  }
}

TEST(Engine, TheModelDidLearnSomething) {
  if (g_communicator->rank() != 0) return;
  const Outcome& outcome = g_references->front();
  EXPECT_GT(outcome.losses.front(), outcome.losses.back());
  for (const double norm : outcome.norms) EXPECT_GT(norm, 0.05);  // so that clipping acts
  const Outcome& scaled = g_references->back();
  EXPECT_GT(scaled.skipped, 0);
  EXPECT_LT(scaled.skipped, kSteps);
}

// As a trained one may: channels last, say.
TEST(Engine, AFrozenParameterMayLieInMemoryInAnyWay) {
  torch::nn::Linear linear(6, 1);
  torch::manual_seed(g_communicator->rank());  // rank 0's values must win
  const std::vector<std::pair<std::string, torch::Tensor>> frozen = {
      {"transposed", torch::randn({3, 2}).t()},
      {"channels_last", torch::randn({1, 3, 2, 1}).contiguous(at::MemoryFormat::ChannelsLast)},
      {"expanded", torch::randn({2, 1}).expand({2, 3})}};
  for (const auto& [name, values] : frozen)
    linear->register_parameter(name, values, /*requires_grad=*/false);
  Engine engine(*linear, *g_communicator, {});
  const Outcome outcome{.state = copy_of(engine.whole_state())};
  torch::manual_seed(0);
  EXPECT_TRUE(
      torch::equal(tensor(outcome, "model.transposed").view({2, 3}), torch::randn({3, 2}).t()));
  EXPECT_TRUE(torch::equal(tensor(outcome, "model.channels_last").view({1, 3, 2, 1}),
                           torch::randn({1, 3, 2, 1})));
  EXPECT_TRUE(torch::equal(tensor(outcome, "model.expanded").view({2, 3}),
                           torch::randn({2, 1}).expand({2, 3})));
}

// 257 has too many digits for bfloat16, and 100,000 is more than float16 has room for; the gradient
// is the same mean over samples with any weight.
TEST(Engine, ALossOfLowPrecisionKeepsItsWeight) {
  for (const auto dtype : {torch::kFloat, torch::kBFloat16, torch::kHalf}) {
    for (const double weight : {257.0, 100000.0}) {
      SCOPED_TRACE(std::string(c10::toString(dtype)) + ", weight " + std::to_string(weight));
      torch::nn::Linear linear(torch::nn::LinearOptions(2, 1).bias(false));
      EngineOptions options;
      options.logical_ranks = kMostLogicalRanks;
      Engine engine(*linear, *g_communicator, options);
      engine.begin_step();
      for (const MicroStep& micro : engine.micro_steps()) {
        engine.begin_micro_step(micro);
        const torch::Tensor x = torch::tensor({{3.0f, 4.0f}});
        engine.backward(linear->forward(x).to(dtype).squeeze(), weight);
      }
      EXPECT_EQ(engine.finish_step(0.1).gradient_norm, 5.0);
    }
  }
}

/// Two models, an Engine each, that are trained by turns: the generator's gradients come through
/// the discriminator, which is frozen meanwhile.
Outcome train_adversaries(Communicator& communicator, int zero_stage) {
  torch::manual_seed(communicator.rank());  // rank 0's values must win
  torch::nn::Sequential generator(torch::nn::Linear(4, 16), torch::nn::Tanh(),
                                  torch::nn::Linear(16, 2));
  torch::nn::Sequential discriminator(torch::nn::Linear(2, 16), torch::nn::Tanh(),
                                      torch::nn::Linear(16, 1));
  EngineOptions options;
  options.logical_ranks = kMostLogicalRanks;
  options.zero_stage = zero_stage;
  options.seed = 1;
  Engine generators(*generator, communicator, options);
  options.seed = 2;
  Engine discriminators(*discriminator, communicator, options);
  const auto score = [&](const torch::Tensor& samples) {
    return torch::softplus(discriminator->forward(samples)).mean();
  };
  Outcome outcome;
  const auto make_step = [&](Engine& engine, const std::function<torch::Tensor()>& loss) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      engine.backward(loss(), 3.0);
    }
    outcome.losses.push_back(engine.finish_step(0.01).loss);
  };
  for (int step = 0; step < kSteps; ++step) {
    make_step(discriminators, [&] {
      const torch::Tensor made = generator->forward(torch::randn({3, 4})).detach();
      return score(made) + score(-torch::rand({3, 2}));
    });
    for (torch::Tensor& parameter : discriminator->parameters()) parameter.requires_grad_(false);
    make_step(generators, [&] { return score(generator->forward(torch::randn({3, 4}))); });
    for (torch::Tensor& parameter : discriminator->parameters()) parameter.requires_grad_(true);
  }
  for (Engine* engine : {&generators, &discriminators}) {
    for (const StateTensor& tensor : copy_of(engine->whole_state())) {
      outcome.state.push_back(tensor);
    }
  }
  return outcome;
}

TEST(Engine, TwoThatAreTrainedByTurnsHaveTheSameBits) {
  World alone = World::create(RankEnv{}, WorldOptions{});
  const Outcome expected = train_adversaries(alone.communicator(), 0);
  EXPECT_NE(expected.losses[0], expected.losses[2]);
  for (int zero_stage = 0; zero_stage <= 3; ++zero_stage) {
    SCOPED_TRACE(zero_stage);
    expect_equal_bits(expected, train_adversaries(*g_communicator, zero_stage));
  }
  WatchedCommunicator apart(*g_communicator, /*shared_memory=*/false);
  expect_equal_bits(expected, train_adversaries(apart, 3));
}

class MastersAtStage : public testing::TestWithParam<int> {};

TEST_P(MastersAtStage, KeepWhatBFloat16CannotHoldAndAreTheState) {
  EngineOptions options;
  options.logical_ranks = kMostLogicalRanks;
  options.precision = Precision::kBFloat16;
  options.zero_stage = GetParam();
  options.optimizer.kind = OptimizerKind::kSgd;
  options.optimizer.momentum = 0;
  const auto make_linear = [](float weight) {
    torch::nn::Linear linear(torch::nn::LinearOptions(4000, 1).bias(false));
    torch::nn::init::constant_(linear->weight, weight);
    return linear;
  };
  torch::nn::Linear linear = make_linear(1);
  Engine engine(*linear, *g_communicator, options);
  EXPECT_EQ(linear->weight.scalar_type(), at::kBFloat16);
  for (int step = 0; step < 8; ++step) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      const Autocast autocast(options.precision);
      engine.backward(linear(torch::ones({2, 4000})).to(torch::kFloat).mean(), 2.0);
    }
    engine.finish_step(0.001);
  }
  // Next to 1 bfloat16 has no number that is nearer than 0.0039: every single step would be lost.
  const at::Tensor master = engine.whole_state().front().flat;
  EXPECT_EQ(master.scalar_type(), at::kFloat);
  EXPECT_TRUE(torch::allclose(master, torch::full({4000}, 0.992), 0, 1e-6));
  EXPECT_TRUE(torch::equal(linear->weight.detach().view(-1), master.to(at::kBFloat16)));

  torch::nn::Linear restored = make_linear(7);
  Engine other(*restored, *g_communicator, options);
  const std::vector<StateTensor> from = engine.state(), to = other.state();
  for (std::size_t i = 0; i < from.size(); ++i) at::Tensor(to[i].flat).copy_(from[i].flat);
  other.state_changed();
  // Of one engine at a time.
  const at::Tensor weight = linear->weight.detach().clone();
  EXPECT_TRUE(torch::equal(restored->weight.detach(), weight));
}

INSTANTIATE_TEST_SUITE_P(Zero, MastersAtStage, testing::Values(0, 1, 2, 3));

// Of the memory that ranks share only what is the rank's own.
TEST(Engine, AModelThatIsSavedIsAsLargeAsItWas) {
  for (const int zero_stage : {0, 1, 2}) {
    torch::nn::Linear linear(256, 256);
    const auto size = [&] {
      std::stringstream file;
      torch::save(linear, file);
      return static_cast<double>(file.str().size());
    };
    const double before = size();
    EngineOptions options;
    options.logical_ranks = kMostLogicalRanks;
    options.zero_stage = zero_stage;
    Engine engine(*linear, *g_communicator, options);
    EXPECT_LT(size() / before, 1.1) << zero_stage;
  }
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  const muster::RankEnv env = muster::RankEnv::from_environment();
  if (env.world_size > muster::kMostLogicalRanks) return 64;
  // The others wait in World::create().
  std::vector<muster::Outcome> references;
  if (env.rank == 0) references = muster::references(env.world_size);
  muster::World world = muster::make_test_world(std::chrono::seconds(150));
  muster::g_communicator = &world.communicator();
  muster::g_references = &references;
  return RUN_ALL_TESTS();
}
