// ZeRO stage 3 gives the bits of stage 0 for models and loops that are hard to shard. Under muster
// run the ranks have one copy of the parameters; with MUSTER_TEST_TRANSPORT=mpi each gathers them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <malloc.h>
#include <torch/torch.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include "muster/base/error.h"
#include "muster/collectives/world.h"
#include "muster/trainer/activation_checkpoint.h"
#include "muster/trainer/engine.h"
#include "trainer/outcome.h"
#include "trainer/test_world.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

constexpr int kLogicalRanks = 4;
constexpr int kSteps = 3;
constexpr int kWidth = 24;
constexpr int kSamples = 7;

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test
bool g_gathers = false;

/// Four blocks, an embedding that is used at both ends, and what some loops leave out.
struct Net : torch::nn::Module {
  Net() {
    embedding = register_module("embedding", torch::nn::Embedding(13, kWidth));
    for (int i = 0; i < 4; ++i) {
      blocks->push_back(torch::nn::Sequential(torch::nn::Linear(kWidth, 2 * kWidth),
                                              torch::nn::ReLU(), torch::nn::Dropout(0.1),
                                              torch::nn::Linear(2 * kWidth, kWidth)));
    }
    register_module("blocks", blocks);
    norm = register_module("norm", torch::nn::LayerNorm(torch::nn::LayerNormOptions({kWidth})));
    lstm = register_module("lstm", torch::nn::LSTM(kWidth, kWidth));
    filter = register_module("filter", torch::nn::Conv1d(1, 3, 3));
    batch_norm = register_module("batch_norm", torch::nn::BatchNorm1d(3));
  }

  torch::Tensor block(std::size_t i, const torch::Tensor& x) {
    return x + blocks->ptr<torch::nn::SequentialImpl>(i)->forward(x);
  }

  torch::Tensor logits(torch::Tensor x) {
    return torch::linear(norm(x), embedding->weight);  // tied
  }

  torch::nn::Embedding embedding{nullptr};
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm norm{nullptr};
  torch::nn::LSTM lstm{nullptr};
  torch::nn::Conv1d filter{nullptr};
  torch::nn::BatchNorm1d batch_norm{nullptr};
  torch::Tensor side;  // what leaves a block by another door than its result
};

struct Place {
  int step;
  int logical_rank;
};

/// The scalar to go backward from.
using LossOf = std::function<torch::Tensor(Net&, const torch::Tensor& ids, Place)>;

struct Scenario {
  const char* name;
  LossOf loss;
  std::int64_t accumulation_steps = 1;
  Precision precision = Precision::kFloat32;
  std::function<void(Net&, Engine&)> between = {};  // steps
};

torch::Tensor through_all(Net& net, torch::Tensor x) {
  for (std::size_t i = 0; i < 4; ++i) x = net.block(i, x);
  return x;
}

/// Every letter is followed by the next.
torch::Tensor cross_entropy(Net& net, torch::Tensor x, const torch::Tensor& ids) {
  return torch::nn::functional::cross_entropy(net.logits(std::move(x)), (ids + 1).remainder(13));
}

torch::Tensor basic(Net& net, const torch::Tensor& ids, Place) {
  return cross_entropy(net, through_all(net, net.embedding(ids)), ids);
}

std::vector<Scenario> scenarios() {
  return {
      {"tied embedding and blocks", basic},
      {"accumulation", basic, 3},
      {"autocast", basic, 1, Precision::kBFloat16Mixed},
      {"bfloat16 parameters", basic, 2, Precision::kBFloat16},
      {"a block used twice",
       [](Net& net, const torch::Tensor& ids, Place) {
         torch::Tensor x = net.block(1, net.block(1, net.embedding(ids)));
         return cross_entropy(net, net.block(0, x), ids);
       }},
      {"a block used again later",
       [](Net& net, const torch::Tensor& ids, Place) {
         torch::Tensor x = net.block(2, net.block(1, net.block(0, net.embedding(ids))));
         return cross_entropy(net, net.block(0, x), ids);
       }},
      {"a side output",
       [](Net& net, const torch::Tensor& ids, Place) {
         torch::Tensor x = net.block(0, net.embedding(ids));
         net.side = (x * x).mean();
         return cross_entropy(net, net.block(1, x), ids) + net.side;
       }},
      {"blocks that some steps and some logical ranks leave out",
       [](Net& net, const torch::Tensor& ids, Place place) {
         torch::Tensor x = net.embedding(ids);
         if (place.step % 2 == 1) x = net.block(0, x);
         if ((place.step + place.logical_rank) % 3 == 0) x = net.block(3, net.block(2, x));
         return cross_entropy(net, x, ids);
       }},
      {"blocks in another order on each logical rank",
       [](Net& net, const torch::Tensor& ids, Place place) {
         torch::Tensor x = net.embedding(ids);
         for (int i = 0; i < 4; ++i) {
           x = net.block(static_cast<std::size_t>((i + place.logical_rank) % 4), x);
         }
         return cross_entropy(net, x, ids);
       }},
      {"two passes forward, one backward",
       [](Net& net, const torch::Tensor& ids, Place place) {
         return basic(net, ids, place) + 0.5 * basic(net, ids.flip(0), place);
       }},
      {"a sparse gradient",
       [](Net& net, const torch::Tensor& ids, Place) {
         const torch::Tensor x = torch::embedding(net.embedding->weight, ids, -1, false,
                                                  /*sparse=*/true);
         return net.block(0, x).pow(2).mean();
       }},
      {"a recurrent layer",
       [](Net& net, const torch::Tensor& ids, Place) {
         const torch::Tensor x = net.block(0, net.embedding(ids));
         return cross_entropy(net, std::get<0>(net.lstm(x.unsqueeze(1))).squeeze(1), ids);
       }},
      {"convolution and batch norm",
       [](Net& net, const torch::Tensor& ids, Place) {
         const torch::Tensor x = net.block(3, net.embedding(ids));
         return cross_entropy(net, x, ids) +
                net.batch_norm(net.filter(x.unsqueeze(1))).pow(2).mean();
       }},
      {"activation checkpointing",
       [](Net& net, const torch::Tensor& ids, Place) {
         torch::Tensor x = net.embedding(ids);
         for (std::size_t i = 0; i < 4; ++i) {
           const auto block = [&net, i](const std::vector<torch::Tensor>& inputs) {
             return std::vector<torch::Tensor>{net.block(i, inputs[0])};
           };
           x = activation_checkpoint(net, block, {x})[0];
         }
         return cross_entropy(net, x, ids);
       }},
      {"a weight decay of the user's, over all parameters",
       [](Net& net, const torch::Tensor& ids, Place place) {
         torch::Tensor loss = basic(net, ids, place);
         for (const torch::Tensor& parameter : net.parameters()) {
           loss = loss + 1e-3 * parameter.pow(2).sum();
         }
         return loss;
       }},
      {"an evaluation between steps, on one rank alone", basic, 1, Precision::kFloat32,
       [](Net& net, Engine&) {
         const torch::NoGradGuard no_grad;
         net.eval();
         if (g_communicator->rank() == 0) basic(net, torch::arange(5), {});
         net.train();
       }},
      {"parameters read by their addresses", basic, 1, Precision::kFloat32,
       [](Net& net, Engine& engine) {
         const auto whole = engine.hold_parameters();
         std::ostringstream stream;
         torch::save(net.embedding, stream);
         EXPECT_GT(stream.str().size(), 13u * kWidth * sizeof(float));
         EXPECT_EQ(net.embedding->weight.data_ptr<float>()[5],
                   net.embedding->weight.flatten()[5].item<float>());
       }},
  };
}

EngineOptions options_for(const Scenario& scenario, int zero_stage) {
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.accumulation_steps = scenario.accumulation_steps;
  options.seed = 5;
  options.clip_norm = 0.5;
  options.zero_stage = zero_stage;
  options.precision = scenario.precision;
  options.ema_decay = 0.9;
  return options;
}

bool is_empty(int step, const MicroStep& micro) { return step == 1 && micro.logical_rank == 2; }

torch::Tensor loss_of(Net& net, const Scenario& scenario, int step, const MicroStep& micro) {
  const std::int64_t first = step * 5 + micro.logical_rank * 3 + micro.micro_step;
  const torch::Tensor ids = torch::arange(first, first + kSamples).remainder(13);
  const Autocast autocast(scenario.precision);
  return scenario.loss(net, ids, {step, micro.logical_rank});
}

void train_step(Net& net, Engine& engine, const Scenario& scenario, int step, Outcome& outcome,
                double learning_rate = 0.01) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    if (is_empty(step, micro)) continue;
    engine.backward(loss_of(net, scenario, step, micro), kSamples);
  }
  outcome.losses.push_back(engine.finish_step(learning_rate).loss);
}

Outcome train(const Scenario& scenario, int zero_stage) {
  torch::manual_seed(g_communicator->rank());
  Net net;
  Engine engine(net, *g_communicator, options_for(scenario, zero_stage));
  Outcome outcome;
  for (int step = 0; step < kSteps; ++step) {
    train_step(net, engine, scenario, step, outcome);
    if (scenario.between) scenario.between(net, engine);
  }
  engine.swap_average();
  engine.swap_average();
  outcome.state = copy_of(engine.whole_state());
  return outcome;
}

TEST(GatheredParameters, AndShardsOfLessGiveTheBitsOfReplicatedOnes) {
  for (const Scenario& scenario : scenarios()) {
    const Outcome expected = train(scenario, 0);
    for (const int zero_stage : {1, 2, 3}) {
      SCOPED_TRACE(std::string(scenario.name) + ", stage " + std::to_string(zero_stage));
      expect_equal_bits(expected, train(scenario, zero_stage));
    }
  }
}

constexpr double kLearningRate = 0.1;

/// What LibTorch alone makes of the same losses: its own accumulation, and its own SGD.
std::vector<torch::Tensor> train_by_libtorch(Net& net, const Scenario& scenario) {
  torch::optim::SGD optimizer(net.parameters(), kLearningRate);
  for (int step = 0; step < kSteps; ++step) {
    std::vector<MicroStep> micro_steps;
    for (int rank = 0; rank < kLogicalRanks; ++rank) {
      for (std::int64_t m = 0; m < scenario.accumulation_steps; ++m) {
        if (!is_empty(step, {rank, m})) micro_steps.push_back({rank, m});
      }
    }
    optimizer.zero_grad();
    for (const MicroStep& micro : micro_steps) {
      // All have the same weight.
      (loss_of(net, scenario, step, micro) / static_cast<double>(micro_steps.size())).backward();
    }
    optimizer.step();
  }
  return net.parameters();
}

void leave_out_dropout(Net& net) {
  for (std::size_t i = 0; i < 4; ++i) {
    net.blocks->ptr<torch::nn::SequentialImpl>(i)->at<torch::nn::DropoutImpl>(2).options.p(0);
  }
}

// Whatever the ways have in common would be wrong in all of them.
TEST(GatheredParameters, TrainAsLibTorchAloneDoes) {
  for (const Scenario& scenario : scenarios()) {
    if (scenario.precision != Precision::kFloat32 || scenario.between) continue;
    for (const int zero_stage : {0, 2, 3}) {
      SCOPED_TRACE(std::string(scenario.name) + ", stage " + std::to_string(zero_stage));
      torch::manual_seed(7);
      Net net, alone;
      {
        const torch::NoGradGuard no_grad;
        for (std::size_t i = 0; i < net.parameters().size(); ++i)
          alone.parameters()[i].copy_(net.parameters()[i]);
      }
      leave_out_dropout(net);
      leave_out_dropout(alone);
      std::vector<torch::Tensor> first;
      for (const torch::Tensor& parameter : alone.parameters())
        first.push_back(parameter.detach().clone());
      EngineOptions options = options_for(scenario, zero_stage);
      options.optimizer.kind = OptimizerKind::kSgd;
      options.optimizer.momentum = 0;
      options.clip_norm = 0;
      Engine engine(net, *g_communicator, options);
      Outcome outcome;
      for (int step = 0; step < kSteps; ++step)
        train_step(net, engine, scenario, step, outcome, kLearningRate);
      const std::vector<torch::Tensor> expected = train_by_libtorch(alone, scenario);
      const std::vector<torch::Tensor> found = net.parameters();
      float moved = 0;
      for (std::size_t i = 0; i < expected.size(); ++i)
        moved = std::max(moved, (first[i] - expected[i]).abs().max().item<float>());
      EXPECT_GT(moved, 3e-3);
      for (std::size_t i = 0; i < expected.size(); ++i) {
        // Sums of at most 12 gradients in another order, over three steps.
        EXPECT_TRUE(torch::allclose(expected[i], found[i], 1e-5, 1e-6))
            << net.named_parameters().keys()[i] << " "
            << (expected[i] - found[i]).abs().max().item<float>();
      }
    }
  }
}

TEST(GatheredParameters, AnyNumberOfUnitsAheadGivesThem) {
  const Scenario scenario{"", basic};
  const Outcome expected = train(scenario, 0);
  for (const std::int64_t prefetch : {0, 3, 100}) {
    SCOPED_TRACE(prefetch);
    torch::manual_seed(g_communicator->rank());
    Net net;
    EngineOptions options = options_for(scenario, 3);
    options.prefetch_units = prefetch;
    Engine engine(net, *g_communicator, options);
    Outcome found;
    for (int step = 0; step < kSteps; ++step) train_step(net, engine, scenario, step, found);
    EXPECT_EQ(expected.losses, found.losses);
  }
}

class AtStage : public ::testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Zero, AtStage, ::testing::Values(0, 1, 2, 3));

// On all ranks alike, in the last micro-step of each.
TEST_P(AtStage, ABackwardThatThrowsLeavesTheNextStepRight) {
  const Scenario scenario{"", basic};
  const Outcome expected = train(scenario, 0);
  torch::manual_seed(g_communicator->rank());
  Net net;
  Engine engine(net, *g_communicator, options_for(scenario, GetParam()));
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    const bool throws = &micro == &engine.micro_steps().back();
    torch::Tensor x = net.embedding(torch::arange(7));
    x.register_hook([throws](torch::Tensor gradient) {
      if (throws) throw std::runtime_error("no");
      return gradient;
    });
    const torch::Tensor loss = net.block(0, x).sum();
    if (throws) {
      EXPECT_THROW(engine.backward(loss, 7), std::runtime_error);
    } else {
      engine.backward(loss, 7);
    }
  }
  Outcome found;
  for (int step = 0; step < kSteps; ++step) train_step(net, engine, scenario, step, found);
  EXPECT_EQ(expected.losses, found.losses);
}

/// Of the storages of parameters that have memory: the parameters of a unit have one together.
std::int64_t held_bytes(const torch::nn::Module& net) {
  std::map<const void*, std::int64_t> held;
  for (const torch::Tensor& parameter : net.parameters()) {
    const c10::Storage& storage = parameter.storage();
    if (storage.data() != nullptr)
      held[storage.unsafeGetStorageImpl()] = static_cast<std::int64_t>(storage.nbytes());
  }
  std::int64_t bytes = 0;
  for (const auto& [storage, nbytes] : held) bytes += nbytes;
  return bytes;
}

/// That malloc has given out.
std::int64_t allocated_bytes() {
  const struct mallinfo2 info = mallinfo2();
  return static_cast<std::int64_t>(info.uordblks + info.hblkhd);
}

TEST(GatheredParameters, HoldAFewUnitsAtATime) {
  if (!g_gathers) GTEST_SKIP() << "ranks have one copy of the parameters: nothing is gathered";
  constexpr int kBlocks = 8;
  constexpr std::int64_t kSide = 512;
  torch::nn::Sequential net;
  for (int i = 0; i < kBlocks; ++i) {
    net->push_back(torch::nn::Linear(torch::nn::LinearOptions(kSide, kSide).bias(false)));
  }
  EngineOptions options;
  options.logical_ranks = 4;
  options.zero_stage = 3;
  options.prefetch_units = 1;
  Engine engine(*net, *g_communicator, options);
  // A block's share of the flat space, cut evenly for these ranks.
  const std::int64_t grain = 1024 * g_communicator->world_size();
  const std::int64_t unit_bytes = (kSide * kSide + grain - 1) / grain * grain * 4;
  // Nor before the first pass: the others' shards may not have their values yet.
  EXPECT_EQ(held_bytes(*net), 0);
  std::int64_t most = 0;
  std::vector<std::int64_t> allocated;  // after each step
  for (int step = 0; step < 4; ++step) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      torch::Tensor x = torch::ones({2, kSide});
      for (auto& block : *net) {
        x = block.forward(x);
        x.register_hook([&](const torch::Tensor&) { most = std::max(most, held_bytes(*net)); });
        most = std::max(most, held_bytes(*net));
      }
      engine.backward(x.mean(), 2);
    }
    engine.finish_step(0.01);
    EXPECT_EQ(held_bytes(*net), 0);
    allocated.push_back(allocated_bytes());
  }
  EXPECT_GE(most, 2 * unit_bytes);
  EXPECT_LE(most, 3 * unit_bytes);
  // Nothing is left behind, but for what is allocated once.
  EXPECT_LT(allocated.back() - allocated[1], unit_bytes);
}

// Three of four blocks are one unit, the last is another.
TEST(GatheredParameters, UnitsAreTheModulesThatPatternsMean) {
  if (!g_gathers) GTEST_SKIP() << "ranks have one copy of the parameters: nothing is gathered";
  constexpr std::int64_t kSide = 128;
  torch::nn::Sequential net;
  for (int i = 0; i < 4; ++i)
    net->push_back(torch::nn::Linear(torch::nn::LinearOptions(kSide, kSide).bias(false)));
  EngineOptions options;
  options.zero_stage = 3;
  options.prefetch_units = 0;
  options.units = {"3"};
  Engine engine(*net, *g_communicator, options);
  // Each unit is cut evenly for these ranks, in blocks of 1,024.
  const std::int64_t grain = 1024 * g_communicator->world_size();
  const auto unit_bytes = [&](std::int64_t blocks) {
    return (blocks * kSide * kSide + grain - 1) / grain * grain * 4;
  };
  engine.begin_step();
  engine.begin_micro_step(engine.micro_steps().front());
  torch::Tensor x = net[0]->as<torch::nn::Linear>()->forward(torch::ones({2, kSide}));
  EXPECT_EQ(held_bytes(*net), unit_bytes(3));
  x = net[3]->as<torch::nn::Linear>()->forward(x);
  EXPECT_EQ(held_bytes(*net), unit_bytes(3) + unit_bytes(1));
}

template <typename Function>
std::string user_error_of(const Function& function) {
  try {
    function();
  } catch (const UserError& error) {
    return error.what();
  }
  return "nothing was thrown";
}

TEST(GatheredParameters, AWriteInPlaceIsRefusedByName) {
  if (!g_gathers) GTEST_SKIP() << "ranks have one copy of the parameters: nothing is gathered";
  Net net;
  Engine engine(net, *g_communicator, options_for({"", basic}, 3));
  const torch::NoGradGuard no_grad;
  const auto write = [&] { net.norm->weight.mul_(2); };
  EXPECT_THAT(user_error_of(write), HasSubstr("expected parameter 'norm.weight' to be changed by"));
  EXPECT_THAT(user_error_of([&] { torch::nn::init::zeros_(net.norm->bias); }),
              HasSubstr("parameter 'norm.bias'"));
}

// Never zeros, or what was there before.
TEST(GatheredParameters, ToReadPastLibTorchWithoutHoldingThemIsAnError) {
  if (!g_gathers) GTEST_SKIP() << "ranks have one copy of the parameters: nothing is gathered";
  Net net;
  Engine engine(net, *g_communicator, options_for({"", basic}, 3));
  EXPECT_THROW(net.norm->weight.data_ptr<float>(), c10::Error);
  const auto whole = engine.hold_parameters();
  EXPECT_EQ(net.norm->weight.data_ptr<float>()[0], 1.0f);
}

TEST(GatheredParameters, WithoutTheirEngineTheyAreGone) {
  if (!g_gathers) GTEST_SKIP() << "ranks have one copy of the parameters: nothing is gathered";
  Net net;
  { Engine engine(net, *g_communicator, options_for({"", basic}, 3)); }
  EXPECT_THAT(user_error_of([&] { net.norm->weight.sum(); }), HasSubstr("keep the engine"));
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  muster::World world = muster::make_test_world(std::chrono::seconds(30));
  muster::g_communicator = &world.communicator();
  muster::g_gathers = world.transport() == "mpi" || world.transport() == "nodes";
  return RUN_ALL_TESTS();
}
