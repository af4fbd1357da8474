// Every optimizer against PyTorch's numbers after 100 steps, and against itself under other cuts of
// the flat space.
#include "update_rule.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "parameter_pieces.h"

namespace muster::internal {
namespace {

std::int64_t product(const std::vector<std::int64_t>& shape) {
  return std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
}

/// The job of the golden file: parameters and gradients that both languages make exactly.
struct Job {
  Json golden;
  std::vector<RuleParameter> parameters;
  std::int64_t numel = 0;  // of the flat space

  Job() {
    const std::string path = MUSTER_TEST_DIR "/golden/optimizers.json";
    golden = parse_json(make_system_env()->read_text(path), path);
    for (const Json& shape : golden["shapes"]) {
      RuleParameter p;
      p.shape = shape.get<std::vector<std::int64_t>>();
      p.range = {numel, numel + product(p.shape)};
      numel = (p.range.end + kBlockNumel - 1) / kBlockNumel * kBlockNumel;
      parameters.push_back(p);
    }
  }

  /// Calls `f` with each element's place in the flat space, its number and its parameter's.
  void for_each_element(
      const std::function<void(std::size_t at, std::int64_t index, int number)>& f) const {
    std::int64_t index = 0;
    for (std::size_t number = 0; number < parameters.size(); ++number) {
      const FlatRange range = parameters[number].range;
      for (std::int64_t at = range.begin; at < range.end; ++at)
        f(static_cast<std::size_t>(at), index++, static_cast<int>(number));
    }
  }

  std::vector<float> initial() const {
    std::vector<float> values(static_cast<std::size_t>(numel));
    for_each_element([&](std::size_t at, std::int64_t index, int) {
      values[at] = static_cast<float>(index * 6271 % 1999 - 999) / 1024.0f;
    });
    return values;
  }

  std::vector<float> gradient(std::int64_t step) const {
    std::vector<float> values(static_cast<std::size_t>(numel));
    for_each_element([&](std::size_t at, std::int64_t index, int number) {
      const std::int64_t wild = (index * 7919 + step * 104729 + index * step * 31) % 2001 - 1000;
      values[at] = std::ldexp(static_cast<float>(wild) / 1024.0f, -3 * number);
    });
    return values;
  }
};

const Job& job() {
  static const Job* const job = new Job;
  return *job;
}

struct Settings {
  OptimizerOptions options;
  double learning_rate = 0;
  double weight_decay = 0;
};

Settings settings_of(const Json& json) {
  const std::string name = json["optimizer"];
  Settings settings;
  OptimizerOptions& o = settings.options;
  o.kind = name == "sgd"         ? OptimizerKind::kSgd
           : name == "adam"      ? OptimizerKind::kAdam
           : name == "lion"      ? OptimizerKind::kLion
           : name == "lamb"      ? OptimizerKind::kLamb
           : name == "adafactor" ? OptimizerKind::kAdafactor
                                 : OptimizerKind::kAdamW;
  o.momentum = json.value("momentum", o.momentum);
  o.dampening = json.value("dampening", o.dampening);
  o.nesterov = json.value("nesterov", o.nesterov);
  o.beta1 = json.value("beta1", o.beta1);
  o.beta2 = json.value("beta2", o.beta2);
  o.epsilon = json.value("epsilon", o.epsilon);
  settings.learning_rate = json["learning_rate"];
  settings.weight_decay = json.value("weight_decay", 0.0);
  return settings;
}

/// 100 steps, with the flat space cut at `cuts` (in blocks): one rule a part, as ranks have it.
std::vector<float> train(const Settings& settings, const std::vector<std::int64_t>& cuts) {
  std::vector<RuleParameter> parameters = job().parameters;
  for (RuleParameter& p : parameters) p.weight_decay = settings.weight_decay;
  std::vector<std::unique_ptr<UpdateRule>> rules;
  for (std::size_t i = 0; i + 1 < cuts.size(); ++i)
    rules.push_back(make_update_rule(settings.options, parameters));
  std::vector<float> values = job().initial();
  std::vector<std::vector<float>> state(2, std::vector<float>(values.size()));
  const std::size_t states = rules[0]->flat_state().size();
  const std::int64_t steps = job().golden["steps"];
  for (std::int64_t step = 1; step <= steps; ++step) {
    const std::vector<float> gradient = job().gradient(step);
    UpdateNumbers numbers{settings.learning_rate, 1.0, 0, step};
    for (const float g : gradient) numbers.gradient_norm += static_cast<double>(g) * g;
    numbers.gradient_norm = std::sqrt(numbers.gradient_norm);
    const auto slice = [&](std::size_t rank) {
      const FlatRange range{cuts[rank] * kBlockNumel, cuts[rank + 1] * kBlockNumel};
      FlatSlice s{range, values.data() + range.begin, gradient.data() + range.begin, {}};
      for (std::size_t k = 0; k < states; ++k) s.state[k] = state[k].data() + range.begin;
      return s;
    };
    for (int round = 0; round < rules[0]->rounds(); ++round) {
      std::vector<double> total(rules[0]->sums(round));
      // From the last to the first: the order must not matter.
      for (std::size_t rank = rules.size(); rank-- > 0;) {
        std::vector<double> sums(total.size());
        rules[rank]->measure(round, slice(rank), numbers, sums);
        for (std::size_t i = 0; i < sums.size(); ++i) total[i] += sums[i];
      }
      for (const auto& rule : rules) rule->combine(round, numbers, total);
    }
    for (std::size_t rank = 0; rank < rules.size(); ++rank)
      rules[rank]->update(slice(rank), numbers);
  }
  return values;
}

std::vector<std::int64_t> whole() { return {0, job().numel / kBlockNumel}; }

// With gradients that do not depend on the parameters, errors add up and do not grow. In units of
// u = 2^-24, a step rounds a parameter twice (3 u for |p| up to 1.5; momentum takes a few further,
// but roundings would have to point one way to pass this), and its update has a relative error of
//   sgd: 2 u / (1 - momentum) from the momentum, at most ten times the gradient's rounding: 25 u;
//   adam, adamw, lamb: 3 u / (1 - beta1) + 3 u / (1 - beta2) / 2 + 8 u = 70 u;
//   lion: none, sign and all its roundings are the same: the decay's 1 u;
//   adafactor: the norms of at most 700 elements that PyTorch sums in float32 in 8 lanes or more,
//     (700 / 8) u, in rows and columns and in the update's norm, twice: 260 u,
// times the largest update: sgd |g| / (1 - momentum) = 10 and more with weight decay, 12; adam
// (1 - beta1) / sqrt(1 - beta2) at most, under 3; lamb that times the trust ratio, |p| over
// |direction|, at most 1.5; adafactor relative to |p|, under 3.
double tolerance(const std::string& optimizer, double learning_rate) {
  const double roundings = optimizer == "sgd"         ? 25 * 12
                           : optimizer == "lion"      ? 1
                           : optimizer == "adafactor" ? 260 * 3
                                                      : 70 * 3 * 1.5;
  return 100 * (3 + learning_rate * roundings) * 0x1p-24;
}

TEST(UpdateRule, FollowsTorch) {
  ASSERT_EQ(job().golden["cases"].size(), 8u);
  const std::int64_t stride = job().golden["stride"];
  for (const Json& one : job().golden["cases"]) {
    SCOPED_TRACE(one["options"].dump());
    const Settings settings = settings_of(one["options"]);
    const std::vector<float> found = train(settings, whole());
    const std::vector<float> before = job().initial();
    const double bound = tolerance(one["options"]["optimizer"], settings.learning_rate);
    double worst = 0, moved = 0;
    std::size_t next = 0;
    job().for_each_element([&](std::size_t at, std::int64_t index, int) {
      if (index % stride != 0) return;
      const double expected = one["values"][next++];
      worst = std::max(worst, std::abs(static_cast<double>(found[at]) - expected));
      moved = std::max(moved, std::abs(static_cast<double>(found[at]) - before[at]));
    });
    EXPECT_EQ(next, one["values"].size());
    EXPECT_LT(worst, bound);
    EXPECT_GT(moved, 500 * bound);
  }
}

TEST(UpdateRule, BitsDoNotDependOnTheCut) {
  const std::int64_t blocks = job().numel / kBlockNumel;
  for (const Json& one : job().golden["cases"]) {
    SCOPED_TRACE(one["options"].dump());
    const Settings settings = settings_of(one["options"]);
    const std::vector<float> expected = train(settings, whole());
    std::vector<std::int64_t> every(static_cast<std::size_t>(blocks + 1));
    std::iota(every.begin(), every.end(), 0);
    for (const std::vector<std::int64_t>& cuts :
         {std::vector<std::int64_t>{0, 1, blocks}, {0, 5, 6, blocks}, every}) {
      const std::vector<float> found = train(settings, cuts);
      EXPECT_EQ(std::memcmp(expected.data(), found.data(), found.size() * sizeof(float)), 0)
          << cuts.size() - 1 << " parts";
    }
  }
}

TEST(UpdateRule, PaddingStaysZero) {
  for (const Json& one : job().golden["cases"]) {
    std::vector<float> values = train(settings_of(one["options"]), whole());
    job().for_each_element([&](std::size_t at, std::int64_t, int) { values[at] = 0; });
    for (const float value : values) ASSERT_EQ(value, 0.0f) << one["options"].dump();
  }
}

TEST(UpdateRule, SettingsOfAParameterActOnItAlone) {
  for (const char* name : {"sgd", "adam", "adamw", "lion", "lamb", "adafactor"}) {
    SCOPED_TRACE(name);
    Settings settings = settings_of({{"optimizer", name}, {"learning_rate", 0.01}});
    std::vector<RuleParameter> parameters = job().parameters;
    parameters[2].learning_rate_factor = 0;
    parameters[4].weight_decay = 0.5;
    const auto step = [&](const std::vector<RuleParameter>& p) {
      const auto rule = make_update_rule(settings.options, p);
      std::vector<float> values = job().initial();
      std::vector<float> first(values.size()), second(values.size());
      const std::vector<float> gradient = job().gradient(1);
      const FlatSlice slice{
          {0, job().numel}, values.data(), gradient.data(), {first.data(), second.data()}};
      const UpdateNumbers numbers{0.01, 1.0, 100.0, 1};
      for (int round = 0; round < rule->rounds(); ++round) {
        std::vector<double> sums(rule->sums(round));
        rule->measure(round, slice, numbers, sums);
        rule->combine(round, numbers, sums);
      }
      rule->update(slice, numbers);
      return values;
    };
    const std::vector<float> plain = step(job().parameters), grouped = step(parameters);
    const std::vector<float> before = job().initial();
    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto at = static_cast<std::size_t>(parameters[i].range.begin);
      const bool changed = plain[at] != grouped[at];
      EXPECT_EQ(changed, i == 2 || i == 4) << "parameter " << i;
    }
    const auto frozen = static_cast<std::size_t>(parameters[2].range.begin);
    EXPECT_EQ(grouped[frozen], before[frozen]);
  }
}

TEST(ParameterPieces, AreCutAtBlocksInTheOrderOfRegistration) {
  // The second parameter lies before the first.
  const ParameterPieces pieces({{2048, 4100}, {0, 1000}, {1024, 1024}});
  ASSERT_EQ(pieces.size(), 4u);
  EXPECT_EQ(pieces[0], (ParameterPiece{0, {2048, 3072}}));
  EXPECT_EQ(pieces[2], (ParameterPiece{0, {4096, 4100}}));
  EXPECT_EQ(pieces[3], (ParameterPiece{1, {0, 1000}}));
  const auto within = [&](FlatRange range) {
    const auto span = pieces.within(range);
    return std::vector<std::size_t>(span.begin(), span.end());
  };
  EXPECT_THAT(within({0, 8192}), testing::ElementsAre(3, 0, 1, 2));
  EXPECT_THAT(within({2048, 4096}), testing::ElementsAre(0, 1));
  EXPECT_THAT(within({5120, 8192}), testing::IsEmpty());
  EXPECT_THAT(pieces.sum_by_parameter(std::vector<double>{1, 2, 4, 8}),
              testing::ElementsAre(7, 8, 0));
}

}  // namespace
}  // namespace muster::internal
