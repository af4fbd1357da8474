// What a step does besides the optimizer's rule, against PyTorch's numbers after 100 steps:
// clipping by value, settings of parameters by their names, and the average of weights.
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/trainer_options.h"

namespace muster {
namespace {

const Json& step_golden() {
  static const Json* const golden = [] {
    const std::string path = MUSTER_TEST_DIR "/golden/step_options.json";
    return new Json(parse_json(make_system_env()->read_text(path), path));
  }();
  return *golden;
}

/// As make_optimizers.py has them, exact in float32: the initial values, and the gradients of a
/// step, which are smaller by 2^-3 from each parameter to the next.
class GoldenTensors {
 public:
  GoldenTensors() {
    std::int64_t begin = 0;
    for (const Json& shape : step_golden()["shapes"]) {
      shapes_.push_back(shape.get<std::vector<std::int64_t>>());
      const std::int64_t end = begin + c10::multiply_integers(shapes_.back());
      indices_.push_back(torch::arange(begin, end));
      begin = end;
    }
  }

  std::vector<torch::Tensor> initial() const {
    return make([](const torch::Tensor& index) { return index * 6271 % 1999 - 999; }, 0);
  }
  std::vector<torch::Tensor> gradients(std::int64_t step) const {
    const auto wild = [&](const torch::Tensor& index) {
      return (index * 7919 + step * 104729 + index * step * 31) % 2001 - 1000;
    };
    return make(wild, -3);
  }

 private:
  template <typename Function>
  std::vector<torch::Tensor> make(const Function& numerators, int exponent) const {
    std::vector<torch::Tensor> tensors;
    for (std::size_t i = 0; i < shapes_.size(); ++i) {
      const double scale = std::ldexp(1.0, exponent * static_cast<int>(i) - 10);
      tensors.push_back(numerators(indices_[i]).to(torch::kFloat).view(shapes_[i]) * scale);
    }
    return tensors;
  }

  std::vector<std::vector<std::int64_t>> shapes_;
  std::vector<torch::Tensor> indices_;  // of elements, over all parameters
};

std::string parameter_groups(const Json& groups) {
  std::string text;
  for (const Json& group : groups) {
    text += (text.empty() ? "" : ";") + group[0].get<std::string>() +
            ":learning-rate-factor=" + group[1].dump();
    if (!group[2].is_null()) text += ",weight-decay=" + group[2].dump();
  }
  return text;
}

/// The flags of these names are the golden file's.
EngineOptions step_options(const Json& settings) {
  TrainerOptions options;
  options.optimizer = settings["optimizer"];
  options.beta2 = settings.value("beta2", options.beta2);
  options.weight_decay = settings["weight_decay"];
  options.clip_value = settings.value("clip_value", 0.0);
  options.ema = settings.value("ema", 0.0);
  if (settings.contains("groups")) options.parameter_groups = parameter_groups(settings["groups"]);
  options.logical_ranks = 2;
  return options.engine_options();
}

/// Of all parameters' elements, those that the golden file has.
std::vector<float> sample(const torch::nn::Module& net) {
  std::vector<torch::Tensor> flat;
  for (const torch::Tensor& p : net.parameters()) flat.push_back(p.detach().flatten());
  const torch::Tensor some =
      torch::cat(flat).slice(0, 0, {}, step_golden()["stride"].get<std::int64_t>()).contiguous();
  return {some.const_data_ptr<float>(), some.const_data_ptr<float>() + some.numel()};
}

struct Found {
  std::vector<float> initial, values = {}, average = {};
};

/// A loss whose gradient with respect to a parameter is what `gradients` has for it.
torch::Tensor loss_with(const std::vector<torch::Tensor>& gradients, const torch::nn::Module& net) {
  const std::vector<torch::Tensor> parameters = net.parameters();
  torch::Tensor loss = torch::zeros({});
  for (std::size_t i = 0; i < gradients.size(); ++i)
    loss = loss + (parameters[i] * gradients[i]).sum();
  return loss;
}

Found follow(const Json& settings) {
  const GoldenTensors golden;
  torch::nn::Module net;
  for (const torch::Tensor& values : golden.initial())
    net.register_parameter(step_golden()["names"][net.parameters().size()], values);
  Found found{.initial = sample(net)};
  World world = World::create(RankEnv{}, WorldOptions{});
  Engine engine(net, world.communicator(), step_options(settings));
  while (engine.step() < step_golden()["steps"].get<std::int64_t>()) {
    const std::vector<torch::Tensor> gradients = golden.gradients(engine.step() + 1);
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      engine.backward(loss_with(gradients, net), 1.0);
    }
    engine.finish_step(settings["learning_rate"]);
  }
  found.values = sample(net);
  if (!settings.contains("ema")) return found;
  engine.swap_average();
  found.average = sample(net);
  return found;
}

double furthest(const std::vector<float>& a, const std::vector<double>& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (std::size_t i = 0; i < a.size(); ++i)
    largest = std::max(largest, std::abs(static_cast<double>(a[i]) - b[i]));
  return largest;
}

// As in update_rule_test.cc errors add up and do not grow. In units of u = 2^-24, a step rounds a
// parameter twice (2 |p| <= 5 u, see below), and its update by 70 u times 3 for Adam and AdamW, by
// 25 u times 12 for SGD: times 18 here, where weight decay may add half the parameter to the
// gradient. A parameter's rate may be doubled.
constexpr double kLargest = 2.5;

double bound_of(const Json& settings) {
  const double roundings = settings["optimizer"] == "sgd" ? 25 * 18 : 70 * 3;
  const double steps = step_golden()["steps"];
  return steps * (2 * kLargest + 2 * settings["learning_rate"].get<double>() * roundings) * 0x1p-24;
}

// The average is as far off as the parameters are, and by the roundings of three operations a step
// on numbers of their size, which it forgets as it forgets them.
double bound_of_average(const Json& settings) {
  return bound_of(settings) + 3 * kLargest * 0x1p-24 / (1 - settings["ema"].get<double>());
}

TEST(StepOptions, FollowTorch) {
  torch::set_num_threads(1);
  ASSERT_EQ(step_golden()["cases"].size(), 7u);
  for (const Json& one : step_golden()["cases"]) {
    SCOPED_TRACE(one["options"].dump());
    const Found found = follow(one["options"]);
    const double bound = bound_of(one["options"]);
    EXPECT_LT(furthest(found.values, one["values"]), bound);
    // Otherwise the comparison would say little.
    const std::vector<double> before(found.initial.begin(), found.initial.end());
    EXPECT_GT(furthest(found.values, before), 500 * bound);
    EXPECT_LT(furthest(found.values, std::vector<double>(before.size())), kLargest);
    if (!one.contains("average")) continue;
    EXPECT_LT(furthest(found.average, one["average"]), bound_of_average(one["options"]));
    EXPECT_GT(furthest(found.average, one["values"]), 100 * bound);
  }
}

}  // namespace
}  // namespace muster
