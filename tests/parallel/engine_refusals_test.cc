// What an Engine refuses is told by name and changes nothing: losses and gradients that are not
// finite, writes and backward passes behind its back, numbers and options that do not fit.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <sstream>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "muster/base/error.h"
#include "muster/trainer/engine.h"
#include "trainer/odd_net.h"
#include "trainer/outcome.h"
#include "trainer/test_world.h"

namespace muster {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

constexpr int kLogicalRanks = 5;

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test

TEST(Engine, WhatItDoesNotHaveIsNamed) {
  OddNet net;
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  {
    Engine engine(net, *g_communicator, options);
    EXPECT_THROW(engine.swap_average(), ConfigError);
  }
  options.optimizer.groups = {{"*.bias"}, {"wide.*"}};
  EXPECT_THAT([&] { Engine engine(net, *g_communicator, options); },
              ThrowsMessage<ConfigError>(HasSubstr("parameter group 'wide.*'")));
}

// What compute_loss() and its like do wrong is told, before anything is spoilt.
TEST(Engine, ALossThatIsNotFiniteIsNamedAndChangesNothing) {
  torch::nn::Sequential net(torch::nn::BatchNorm1d(4), torch::nn::Linear(4, 1));
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*net, *g_communicator, options);
  const Outcome before = state_of(engine);
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    const float poison = micro.logical_rank >= 3 ? NAN : 1.0f;
    engine.backward(net->forward(torch::full({2, 4}, poison)).mean(), 2.0);
  }
  try {
    engine.finish_step(0.1);
    ADD_FAILURE() << "a loss of NaN was taken";
  } catch (const LossNotFinite& error) {
    EXPECT_EQ(error.logical_rank(), 3);
    EXPECT_NE(std::string(error.what()).find("logical rank 3"), std::string::npos) << error.what();
  }
  expect_equal_bits(before, state_of(engine));
}

// Whether or not something looks at its size before the update.
TEST(Engine, AGradientThatIsNotFiniteIsNamedAndChangesNothing) {
  for (const auto& [clip_norm, clip_value] : {std::pair(0.0, 0.0), {1.0, 0.0}, {0.0, 1.0}}) {
    torch::nn::Sequential net(torch::nn::Linear(4, 4), torch::nn::BatchNorm1d(4),
                              torch::nn::Linear(4, 1));
    EngineOptions options;
    options.logical_ranks = kLogicalRanks;
    options.clip_norm = clip_norm;
    options.clip_value = clip_value;
    options.ema_decay = 0.5;
    Engine engine(*net, *g_communicator, options);
    const auto make_step = [&](double poison) {
      engine.begin_step();
      for (const MicroStep& micro : engine.micro_steps()) {
        engine.begin_micro_step(micro);
        // The derivative of the root is infinite at 0.
        const torch::Tensor root =
            poison * torch::sqrt((net[2]->parameters()[0] * 0).sum() + 1 - poison);
        const torch::Tensor input = torch::full({2, 4}, 1.0 + micro.logical_rank);
        engine.backward(net->forward(input).mean() + root, 2.0);
      }
      return engine.finish_step(0.1);
    };
    make_step(0);
    const Outcome before = state_of(engine);
    EXPECT_THAT([&] { make_step(1); },
                ThrowsMessage<UserError>(HasSubstr("first in parameter '2.weight'")));
    expect_equal_bits(before, state_of(engine));
    // Nor does a step that is given up on the way, as when compute_loss() throws.
    engine.begin_step();
    engine.begin_micro_step(engine.micro_steps().front());
    net->forward(torch::full({2, 4}, 9.0));
    engine.begin_step();
    expect_equal_bits(before, state_of(engine));
    EXPECT_EQ(make_step(0).step, 2);
  }
}

/// The passes of a step of `net` on `input`, whose loss is the mean.
template <typename Net>
void mean_passes(Engine& engine, Net& net, const torch::Tensor& input) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    torch::Tensor loss;
    {
      const Autocast autocast(engine.options().precision);
      loss = net->forward(input).mean();
    }
    engine.backward(loss, 2.0);
  }
}

template <typename Net>
StepReport mean_step(Engine& engine, Net& net, const torch::Tensor& input) {
  mean_passes(engine, net, input);
  return engine.finish_step(0.25);
}

void halve(const torch::Tensor& weight) {
  const torch::NoGradGuard no_grad;
  weight.mul_(0.5);
}

TEST(Engine, AWriteBetweenStepsIsRefusedWhereItWouldBeLostOrDoneOnceARank) {
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  for (const auto& [zero_stage, precision] : {std::pair{0, Precision::kFloat32},
                                              {2, Precision::kFloat32},
                                              {3, Precision::kFloat32},
                                              {1, Precision::kBFloat16}}) {
    SCOPED_TRACE(zero_stage);
    torch::nn::Linear linear(4, 1);
    EngineOptions options;
    options.logical_ranks = kLogicalRanks;
    options.zero_stage = zero_stage;
    options.precision = precision;
    Engine engine(*linear, *g_communicator, options);
    mean_step(engine, linear, input);
    const bool shared = zero_stage == 3 && g_communicator->world_size() > 1;
    const auto write_and_go_on = [&] {
      halve(linear->weight);
      mean_step(engine, linear, input);
    };
    if (shared || precision == Precision::kBFloat16) {
      EXPECT_THROW(write_and_go_on(), UserError);
    } else {
      write_and_go_on();
    }
  }
}

TEST(Engine, AWriteDuringAStepIsRefused) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  const Outcome before = state_of(engine);
  mean_passes(engine, linear, torch::full({2, 4}, 0.5));
  halve(linear->weight);
  EXPECT_THAT([&] { engine.finish_step(0.25); },
              ThrowsMessage<UserError>(HasSubstr("parameter 'weight'")));
  {
    const torch::NoGradGuard no_grad;
    linear->weight.mul_(2);
  }
  expect_equal_bits(before, state_of(engine));
  EXPECT_EQ(mean_step(engine, linear, torch::full({2, 4}, 0.5)).step, 1);
}

TEST(Engine, FreezingAndUnfreezingIsRefusedByName) {
  torch::nn::Sequential net(torch::nn::Linear(4, 4), torch::nn::Linear(4, 1));
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  net[0]->parameters()[1].requires_grad_(false);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*net, *g_communicator, options);
  for (const auto& [layer, requires_grad] : {std::pair{0, true}, {1, false}}) {
    torch::Tensor bias = net[static_cast<std::size_t>(layer)]->parameters()[1];
    bias.requires_grad_(requires_grad);
    const std::string name = "parameter '" + std::to_string(layer) + ".bias'";
    EXPECT_THAT([&] { mean_step(engine, net, input); }, ThrowsMessage<UserError>(HasSubstr(name)));
    bias.requires_grad_(!requires_grad);
  }
  EXPECT_EQ(mean_step(engine, net, input).step, 1);
}

// No scale makes an activation smaller.
TEST(Engine, AnOverflowThatNoScaleMendsEndsTraining) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.precision = Precision::kFloat16Mixed;
  options.initial_loss_scale = 4;
  Engine engine(*linear, *g_communicator, options);
  const torch::Tensor too_large = torch::full({2, 4}, 1e6);
  EXPECT_TRUE(mean_step(engine, linear, too_large).skipped);
  EXPECT_TRUE(mean_step(engine, linear, too_large).skipped);
  EXPECT_EQ(engine.loss_scale().scale, 1);
  EXPECT_THROW(mean_step(engine, linear, too_large), LossNotFinite);
  EXPECT_FALSE(mean_step(engine, linear, torch::full({2, 4}, 0.5)).skipped);
}

/// Keeps statistics of what its result does not depend on.
struct CountingLinear : torch::nn::Module {
  torch::Tensor forward(const torch::Tensor& x) {
    norm(x);
    return linear(x);
  }
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(64));
  torch::nn::Linear linear = register_module("linear", torch::nn::Linear(64, 1));
};

// Neither the optimizer's step count nor the average of weights sees a skipped step, nor do
// buffers.
TEST(Engine, ASkippedStepChangesNothing) {
  auto net = std::make_shared<CountingLinear>();
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.precision = Precision::kFloat16Mixed;
  options.initial_loss_scale = 0x1p20;
  options.optimizer.kind = OptimizerKind::kAdam;
  options.ema_decay = 0.5;
  Engine engine(*net, *g_communicator, options);
  const Outcome first = state_of(engine);
  StepReport report;
  do {
    expect_equal_bits(first, state_of(engine));
    ASSERT_LT(engine.step(), 12);
    report = mean_step(engine, net, torch::full({2, 64}, 0.5));
  } while (report.skipped);
  EXPECT_GT(report.step, 1);
  const Outcome updated = state_of(engine);
  // Adam's first update is the rate times the sign, whatever came before that was not one.
  const char* const weight = "model.linear.weight";
  EXPECT_TRUE(torch::allclose(tensor(first, weight) - 0.25, tensor(updated, weight), 0, 1e-6));
  EXPECT_TRUE(torch::equal(tensor(updated, "ema.linear.weight"), tensor(updated, weight)));
  EXPECT_EQ(tensor(updated, "model.norm.num_batches_tracked").item<int64_t>(), 1);
}

TEST(Engine, ASecondBackwardOfAMicroStepIsRefused) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    engine.backward(linear(torch::ones({2, 4})).mean(), 2.0);
    EXPECT_THROW(engine.backward(linear(torch::ones({2, 4})).mean(), 2.0), UserError);
  }
  engine.finish_step(0.1);
}

// What is on its way then is written into memory that is still there.
TEST(Engine, MayEndInTheMiddleOfAStep) {
  torch::nn::Linear linear(4, 1);
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  for (int i = 0; i < 20; ++i) {
    Engine engine(*linear, *g_communicator, options);
    mean_passes(engine, linear, input);
  }
  Engine engine(*linear, *g_communicator, options);
  EXPECT_EQ(mean_step(engine, linear, input).step, 1);
}

// What the optimizer moves would not be what the model reads.
TEST(Engine, ValuesThatWereReplacedAreRefusedByName) {
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  using Replace = std::function<void(torch::nn::Linear&)>;
  const std::map<std::string, Replace> ways = {
      {"set_data",
       [](torch::nn::Linear& linear) {
         linear->weight.set_data(torch::zeros({1, 4}));
       }},
      {"to", [](torch::nn::Linear& linear) { linear->to(torch::kDouble); }},
      {"load", [](torch::nn::Linear& linear) {
         std::stringstream file;
         torch::save(torch::nn::Linear(4, 1), file);
         torch::load(linear, file);
       }}};
  for (const auto& [name, replace] : ways) {
    for (const int zero_stage : {0, 1, 2, 3}) {
      SCOPED_TRACE(name + " at stage " + std::to_string(zero_stage));
      torch::nn::Linear linear(4, 1);
      EngineOptions options;
      options.logical_ranks = kLogicalRanks;
      options.zero_stage = zero_stage;
      Engine engine(*linear, *g_communicator, options);
      mean_step(engine, linear, input);
      const Outcome before = state_of(engine);
      EXPECT_THAT(
          [&] {
            replace(linear);
            mean_step(engine, linear, input);
          },
          ThrowsMessage<UserError>(HasSubstr("parameter 'weight'")));
      expect_equal_bits(before, state_of(engine));
    }
  }
}

// What a logical rank begins with would not fit in.
TEST(Engine, ABufferOfAnotherSizeIsRefusedByName) {
  torch::nn::Linear linear(4, 1);
  torch::Tensor seen = linear->register_buffer("seen", torch::zeros({4}));
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  mean_step(engine, linear, input);
  const Outcome before = state_of(engine);
  const torch::Tensor values = seen.detach().clone();
  for (const torch::Tensor& other :
       {torch::zeros({5}), torch::zeros({4}, torch::kDouble), torch::zeros({4, 2}).select(1, 0)}) {
    seen.set_data(other);
    EXPECT_THAT([&] { engine.begin_step(); }, ThrowsMessage<UserError>(HasSubstr("buffer 'seen'")));
  }
  seen.set_data(values);
  expect_equal_bits(before, state_of(engine));
  EXPECT_EQ(mean_step(engine, linear, input).step, 2);
}

// A model that is refused may be trained with other options.
TEST(Engine, OptionsAreRefusedBeforeTheModelIsTouched) {
  torch::nn::Sequential net(torch::nn::Linear(4, 4), torch::nn::BatchNorm1d(4));
  net[0]->parameters()[1].requires_grad_(false);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.precision = Precision::kBFloat16;
  options.zero_stage = 4;
  EXPECT_THROW(Engine(*net, *g_communicator, options), ConfigError);
  for (const torch::Tensor& tensor : net->parameters()) EXPECT_EQ(tensor.dtype(), torch::kFloat);
  EXPECT_EQ(net->named_buffers()["1.running_mean"].dtype(), torch::kFloat);
}

TEST(Engine, ValuesThatWereReplacedDuringAStepAreRefused) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  mean_passes(engine, linear, torch::full({2, 4}, 0.5));
  linear->weight.set_data(torch::zeros({1, 4}));
  EXPECT_THROW(engine.finish_step(0.25), UserError);
}

/// With batch norm, and a parameter that not every logical rank uses.
struct Wayward : torch::nn::Module {
  torch::Tensor forward(const torch::Tensor& x, bool uses_all) {
    const torch::Tensor y = norm(first(x));
    return uses_all ? last(y) : y;
  }
  torch::nn::Linear first = register_module("first", torch::nn::Linear(4, 4));
  torch::nn::BatchNorm1d norm = register_module("norm", torch::nn::BatchNorm1d(4));
  torch::nn::Linear last = register_module("last", torch::nn::Linear(4, 1));
};

/// The first `most` of this rank's micro-steps.
void some_passes(Engine& engine, Wayward& net, std::size_t most) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    if (most-- == 0) return;
    engine.begin_micro_step(micro);
    engine.backward(net.forward(torch::randn({3, 4}), micro.logical_rank != 1).square().mean(), 3);
  }
}

EngineOptions wayward_options(int zero_stage, int logical_ranks) {
  EngineOptions options;
  options.logical_ranks = logical_ranks;
  options.zero_stage = zero_stage;
  return options;
}

constexpr std::size_t kAllPasses = 100;

// Ranks have several micro-steps, of which the first may be one's last, or one each.
TEST(Engine, AStepThatIsGivenUpOnEveryRankLeavesNothing) {
  for (const int logical_ranks : {kLogicalRanks, g_communicator->world_size()}) {
    for (const int zero_stage : {0, 1, 2, 3}) {
      SCOPED_TRACE(testing::Message() << "stage " << zero_stage << " of " << logical_ranks);
      const auto train = [&](const std::vector<std::size_t>& given_up) {
        torch::manual_seed(1);
        Wayward net;
        Engine engine(net, *g_communicator, wayward_options(zero_stage, logical_ranks));
        for (const std::size_t passes : given_up) some_passes(engine, net, passes);
        some_passes(engine, net, kAllPasses);
        engine.finish_step(0.1);
        return state_of(engine);
      };
      const Outcome expected = train({});
      for (const std::size_t passes : {std::size_t{0}, std::size_t{1}, kAllPasses})
        expect_equal_bits(expected, train({passes, passes}));
    }
  }
}

TEST(Engine, AStepThatOneRankGivesUpIsOneThatOthersCannotFinish) {
  if (g_communicator->world_size() == 1) GTEST_SKIP() << "takes two ranks";
  const bool gives_up = g_communicator->rank() == 1;
  for (const int zero_stage : {0, 1, 2, 3}) {
    SCOPED_TRACE(zero_stage);
    const auto train = [&](bool disturbed) {
      torch::manual_seed(1);
      Wayward net;
      Engine engine(net, *g_communicator, wayward_options(zero_stage, 2 * kLogicalRanks));
      if (disturbed) some_passes(engine, net, gives_up ? 1 : kAllPasses);
      if (disturbed && !gives_up) {
        EXPECT_THAT([&] { engine.finish_step(0.1); },
                    ThrowsMessage<UserError>(HasSubstr("another gave it up")));
      }
      some_passes(engine, net, kAllPasses);
      engine.finish_step(0.1);
      return state_of(engine);
    };
    expect_equal_bits(train(false), train(true));
  }
}

// As one that had no memory left, whose batch the caller would leave out.
TEST(Engine, AStepWhoseBackwardPassThrewCannotGoOn) {
  torch::nn::Linear first(4, 4), last(4, 1);
  torch::nn::Sequential net(first, last);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*net, *g_communicator, options);
  const Outcome before = state_of(engine);
  const auto go_on = [&] {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      const torch::Tensor hidden = first(torch::ones({2, 4}));
      hidden.register_hook(
          [](const torch::Tensor&) -> torch::Tensor { throw std::runtime_error("no memory"); });
      EXPECT_THROW(engine.backward(last(hidden).mean(), 2.0), std::runtime_error);
    }
    engine.finish_step(0.1);
  };
  EXPECT_THAT(go_on, ThrowsMessage<UserError>(HasSubstr("one threw")));
  mean_passes(engine, net, torch::full({2, 4}, 0.5));
  engine.begin_step();
  expect_equal_bits(before, state_of(engine));
}

TEST(Engine, CallsOutOfTheirOrderAreRefused) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.ema_decay = 0.5;
  Engine engine(*linear, *g_communicator, options);
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  EXPECT_THROW(engine.begin_micro_step(engine.micro_steps().front()), UserError);
  EXPECT_THROW(engine.finish_step(0.1), UserError);
  mean_step(engine, linear, input);
  const Outcome after = state_of(engine);
  EXPECT_THROW(engine.finish_step(0.1), UserError);
  expect_equal_bits(after, state_of(engine));
  mean_passes(engine, linear, input);
  EXPECT_THROW(engine.whole_state(), UserError);
  EXPECT_THROW(engine.swap_average(), UserError);
  EXPECT_THROW(engine.state_changed(), UserError);
  EXPECT_EQ(engine.finish_step(0.1).step, 2);
  engine.swap_average();
  EXPECT_THROW(engine.begin_step(), UserError);
  engine.swap_average();
  EXPECT_EQ(mean_step(engine, linear, input).step, 3);
  EXPECT_THROW(engine.resume(-1, {}), ConfigError);
}

/// Checkpointing by hand: a backward pass within the backward pass.
struct Again : torch::autograd::Function<Again> {
  using Block = std::function<torch::Tensor(const torch::Tensor&)>;
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const Block* block) {
    context->saved_data["block"] = reinterpret_cast<std::int64_t>(block);
    context->save_for_backward({x});
    const torch::NoGradGuard no_grad;
    return (*block)(x);
  }
  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 torch::autograd::variable_list gradients) {
    const auto* block = reinterpret_cast<const Block*>(context->saved_data["block"].toInt());
    const torch::AutoGradMode with_graph(true);
    torch::Tensor x = context->get_saved_variables()[0].detach().requires_grad_(true);
    torch::autograd::backward({(*block)(x)}, {gradients[0]});
    return {x.grad(), torch::Tensor()};
  }
};

TEST(Engine, ASecondGradientInABackwardPassIsRefusedByName) {
  torch::nn::Linear linear(4, 4);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.accumulation_steps = 2;  // so that it is not in the last pass alone
  Engine engine(*linear, *g_communicator, options);
  const Again::Block block = [&](const torch::Tensor& x) { return torch::tanh(linear(x)); };
  engine.begin_step();
  engine.begin_micro_step(engine.micro_steps().front());
  torch::Tensor y = torch::randn({3, 4}).requires_grad_(true);
  for (int i = 0; i < 2; ++i) y = Again::apply(y, &block);
  EXPECT_THAT([&] { engine.backward(y.mean(), 3.0); },
              ThrowsMessage<UserError>(
                  AllOf(HasSubstr("found a second"), HasSubstr("activation_checkpoint()"))));
}

struct Ordered : torch::nn::Module {
  explicit Ordered(bool turned) {
    const torch::Tensor wide = torch::full({4, 3}, 2.0f), tall = torch::full({3, 4}, 3.0f);
    if (turned) register_parameter("tall", tall);
    register_parameter("wide", wide);
    if (!turned) register_parameter("tall", tall);
  }
};

TEST(Engine, AModelThatIsAnotherOnSomeRankIsRefused) {
  if (g_communicator->world_size() == 1) GTEST_SKIP() << "takes two ranks";
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Ordered turned(g_communicator->rank() > 0);
  const auto make = [&] { Engine engine(turned, *g_communicator, options); };
  if (g_communicator->rank() == 1) {
    EXPECT_THAT(make, ThrowsMessage<ConfigError>(AllOf(HasSubstr("parameter 'wide' [4, 3]"),
                                                       HasSubstr("parameter 'tall' [3, 4]"))));
  } else {
    EXPECT_THROW(make(), Error);
  }
  Ordered same(true);
  Engine engine(same, *g_communicator, options);
}

TEST(Engine, AParameterGroupOfNoNumberIsRefused) {
  OddNet net;
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  for (const double factor : {double{NAN}, double{INFINITY}, -1.0}) {
    options.optimizer.groups = {{"*.bias", factor}};
    EXPECT_THROW(Engine(net, *g_communicator, options), ConfigError) << factor;
  }
}

// Its gradients would have neither the weight nor the place of a micro-batch's.
TEST(Engine, ABackwardPassOfTheUsersOwnIsRefusedByName) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.accumulation_steps = 2;
  Engine engine(*linear, *g_communicator, options);
  const auto loss = [&] { return linear(torch::ones({2, 4})).mean(); };
  const auto expect_refusal = [&] {
    EXPECT_THAT([&] { loss().backward(); },
                ThrowsMessage<UserError>(HasSubstr("Engine::backward()")));
  };
  expect_refusal();
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    expect_refusal();
    engine.backward(loss(), 2.0);
    expect_refusal();
  }
  EXPECT_DOUBLE_EQ(engine.finish_step(0.1).gradient_norm, std::sqrt(5.0));
}

TEST(Engine, AGraphThatOutlivesItIsRefused) {
  for (const int zero_stage : {0, 3}) {
    torch::nn::Linear linear(4, 1);
    torch::Tensor loss;
    {
      EngineOptions options;
      options.logical_ranks = kLogicalRanks;
      options.zero_stage = zero_stage;
      Engine engine(*linear, *g_communicator, options);
      loss = linear(torch::ones({2, 4})).mean();
    }
    EXPECT_THROW(loss.backward(), UserError);
    if (zero_stage == 3) continue;  // perhaps with no values any more
    linear(torch::ones({2, 4})).mean().backward();
    EXPECT_TRUE(torch::equal(linear->weight.grad(), torch::ones({1, 4})));
  }
}

TEST(Engine, ALearningRateThatIsNoneIsRefusedAndChangesNothing) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  const torch::Tensor input = torch::full({2, 4}, 0.5);
  const Outcome before = state_of(engine);
  for (const double rate : {double{NAN}, double{INFINITY}, -0.1}) {
    mean_passes(engine, linear, input);
    EXPECT_THAT([&] { engine.finish_step(rate); },
                ThrowsMessage<UserError>(HasSubstr("learning rate")));
    expect_equal_bits(before, state_of(engine));
  }
  EXPECT_EQ(mean_step(engine, linear, input).step, 1);
}

// Before a rank tells others of it: some may have a micro-step to go when others have none.
TEST(Engine, ALossThatIsNoneIsRefusedAndMayBeReplaced) {
  torch::nn::Linear linear(4, 1);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  Engine engine(*linear, *g_communicator, options);
  engine.begin_step();
  EXPECT_THROW(engine.backward(linear(torch::ones({2, 4})).mean(), 2.0), UserError);
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    const torch::Tensor loss = linear(torch::ones({2, 4})).mean();
    EXPECT_THROW(engine.backward(loss.to(torch::kComplexFloat), 2.0), UserError);
    EXPECT_THROW(engine.backward({}, 2.0), UserError);
    for (const double weight : {0.0, double{NAN}, 1e39, 1e-46})
      EXPECT_THROW(engine.backward(loss, weight), UserError) << weight;
    engine.backward(loss, 2.0);
  }
  EXPECT_DOUBLE_EQ(engine.finish_step(0.1).gradient_norm, std::sqrt(5.0));
}

// It would go on with the values that the parameter had at first.
TEST(Engine, WhatIsAnotherViewOfATrainedParameterIsRefusedByName) {
  for (const bool buffer : {false, true}) {
    torch::nn::Linear linear(4, 1);
    const torch::Tensor view = linear->weight.detach().view(-1).narrow(0, 1, 2);
    if (buffer) {
      linear->register_buffer("view", view);
    } else {
      linear->register_parameter("view", view, /*requires_grad=*/false);
    }
    EXPECT_THAT([&] { Engine engine(*linear, *g_communicator, {}); },
                ThrowsMessage<ConfigError>(HasSubstr("'weight' and 'view'")));
  }
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  muster::World world = muster::make_test_world(std::chrono::seconds(30));
  muster::g_communicator = &world.communicator();
  return RUN_ALL_TESTS();
}
