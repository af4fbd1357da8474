// A hundred losses of a small classifier against those of single-process PyTorch, by every
// optimizer: gradients, weights of micro-batches, clipping and updates together.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/trainer_options.h"

namespace muster {
namespace {

namespace nn = torch::nn;

constexpr std::int64_t kMicroBatch = 16;

const Json& golden() {
  static const Json* const golden = [] {
    const std::string path = MUSTER_TEST_DIR "/golden/loss_curves.json";
    return new Json(parse_json(make_system_env()->read_text(path), path));
  }();
  return *golden;
}

struct Data {
  torch::Tensor inputs, labels;
};

/// As make_loss_curves.py has it: whole numbers and their exact fractions.
Data make_data() {
  const auto samples = golden()["samples"].get<std::int64_t>();
  const auto features = golden()["features"].get<std::int64_t>();
  const auto classes = golden()["classes"].get<std::int64_t>();
  const torch::Tensor i = torch::arange(samples).unsqueeze(1);
  const torch::Tensor j = torch::arange(features).unsqueeze(0);
  const torch::Tensor whole = (i * 6271 + j * 7919 + i * j * 313) % 2001 - 1000;
  const torch::Tensor mixed = whole.select(1, 0) + 2 * whole.select(1, 1) + 3000;
  return {whole.to(torch::kFloat) / 1024, (mixed * classes).floor_divide(6001)};
}

nn::Sequential make_net() {
  nn::Sequential net(nn::Linear(12, 40), nn::Tanh(), nn::LayerNorm(nn::LayerNormOptions({40})),
                     nn::Linear(40, 30), nn::GELU(), nn::Linear(30, 7));
  const torch::NoGradGuard no_grad;
  std::int64_t at = 0;
  for (torch::Tensor& p : net->parameters()) {
    const torch::Tensor index = torch::arange(at, at + p.numel());
    p.copy_(((index * 6271 % 1999 - 999).to(torch::kFloat) / 4096).view_as(p));
    at += p.numel();
  }
  net->named_parameters()["2.weight"] += 1;
  return net;
}

/// The flags of these names are the golden file's.
EngineOptions engine_options(const Json& settings) {
  TrainerOptions options;
  options.optimizer = settings["optimizer"];
  options.weight_decay = settings.value("weight_decay", 0.0);
  options.beta2 = settings.value("beta2", options.beta2);
  options.epsilon = settings.value("epsilon", options.epsilon);
  options.momentum = settings.value("momentum", options.momentum);
  options.nesterov = settings.value("nesterov", false);
  options.clip_norm = settings.value("clip_norm", 0.0);
  options.logical_ranks = 2;
  options.accumulation_steps =
      golden()["global_batch"].get<std::int64_t>() / kMicroBatch / options.logical_ranks;
  return options.engine_options();
}

// What float32 may do to one gradient, relative to its parameter's largest: the longest path from
// data to a gradient is sums of 12, 40, 30 and 7 terms and as many back, a layer norm's three sums
// of 40 in each direction, and one of 64 over the batch, each rounded by u = 2^-24 at most; a
// sample's gradient may be ten times their mean.
constexpr double kGradientRoundings = (2 * (12 + 40 + 30 + 7) + 2 * 3 * 40 + 64) * 10;
// An update is at most 16 operations on numbers of the parameter's size.
constexpr double kParameterRoundings = 16;
constexpr double kRounding = 0x1p-24;

/// Losses of the golden file's steps; with a seed above 0, of steps in which every gradient and
/// parameter is off by as much as float32 may make it, at random.
std::vector<double> train(const Json& one, int noise_seed) {
  const Data data = make_data();
  nn::Sequential net = make_net();
  World world = World::create(RankEnv{}, WorldOptions{});
  Engine engine(*net, world.communicator(), engine_options(one["options"]));
  torch::Generator noise = at::detail::createCPUGenerator(static_cast<std::uint64_t>(noise_seed));
  const auto disturbed = [&](const torch::Tensor& values, const torch::Tensor& size) {
    return values + size * (torch::rand(values.sizes(), noise) * 2 - 1);
  };
  if (noise_seed > 0) {
    for (torch::Tensor& p : net->parameters()) {
      p.register_hook([&](const torch::Tensor& g) {
        return disturbed(g, g.abs().max() * kGradientRoundings * kRounding);
      });
    }
  }
  std::vector<double> losses;
  for (std::size_t step = 0; step < one["losses"].size(); ++step) {
    engine.begin_step();
    auto next = static_cast<std::int64_t>(step) * golden()["global_batch"].get<std::int64_t>();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      const torch::Tensor ids = torch::arange(next, next + kMicroBatch) % data.inputs.size(0);
      next += kMicroBatch;
      engine.backward(nn::functional::cross_entropy(net->forward(data.inputs.index_select(0, ids)),
                                                    data.labels.index_select(0, ids)),
                      kMicroBatch);
    }
    losses.push_back(engine.finish_step(one["options"]["learning_rate"]).loss);
    if (noise_seed == 0) continue;
    const torch::NoGradGuard no_grad;
    for (torch::Tensor& p : net->parameters())
      p.copy_(disturbed(p, p.abs() * kParameterRoundings * kRounding));
  }
  return losses;
}

double largest_difference(const std::vector<double>& a, const std::vector<double>& b) {
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i) largest = std::max(largest, std::abs(a[i] - b[i]));
  return largest;
}

// How roundings grow over a hundred steps is a property of the problem, so it is measured: the
// curves of two runs whose steps are disturbed at random by what float32 may do at most. Two
// float32 programs are each one such curve, so they are at most twice as far apart as one is from
// the middle; and PyTorch rounds its mean loss of 64 in float32.
TEST(LossCurve, IsThatOfSingleProcessTorch) {
  torch::set_num_threads(1);  // on a busy machine threads wait for each other longer than they work
  ASSERT_EQ(golden()["cases"].size(), 7u);
  for (const Json& one : golden()["cases"]) {
    SCOPED_TRACE(one["options"].dump());
    const std::vector<double> found = train(one, 0);
    double spread = 0;
    for (const int seed : {1, 2})
      spread = std::max(spread, largest_difference(found, train(one, seed)));
    const double bound = 2 * spread + 64 * kRounding * found.front();
    const std::vector<double> expected = one["losses"];
    EXPECT_LE(largest_difference(found, expected), bound);
    // Otherwise the comparison would say little.
    EXPECT_LT(bound, (found.front() - found.back()) / 50);
  }
}

}  // namespace
}  // namespace muster
