// Evaluation over this world's ranks: as that of a rank alone, and nothing of it is left in the
// model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "muster/base/options.h"
#include "muster/collectives/world.h"
#include "muster/trainer/trainer.h"
#include "trainer/test_world.h"

namespace muster {
namespace {

World* g_world = nullptr;  // gtest hands nothing to a test

/// Points on a circle, every second of which is marked; the first `masked` say nothing.
struct Circle : Dataset {
  Circle(std::int64_t size, std::int64_t masked_first) : samples(size), masked(masked_first) {}
  std::int64_t size() const override { return samples; }
  Batch get(std::span<const std::int64_t> ids) const override {
    Batch batch;
    batch.sample_ids.assign(ids.begin(), ids.end());
    const at::Tensor id = torch::tensor(batch.sample_ids);
    const at::Tensor angle = id.to(torch::kFloat);
    batch.tensors.emplace_back("x", torch::stack({angle.sin(), angle.cos()}, 1));
    batch.tensors.emplace_back("y", torch::where(id < masked, torch::full_like(id, -1), id % 2));
    return batch;
  }
  const std::int64_t samples, masked;
};

/// Follows the mean of what it sees, in training or not, as the centres of a codebook do.
struct Centred : torch::nn::Module {
  torch::Tensor forward(const torch::Tensor& x) {
    {
      const torch::NoGradGuard no_grad;
      center.mul_(0.9).add_(0.1 * x.mean(0));
    }
    return linear(dropout(x - center)).squeeze(1);
  }
  torch::nn::Dropout dropout = register_module("dropout", torch::nn::Dropout(0.5));
  torch::nn::Linear linear = register_module("linear", torch::nn::Linear(2, 1));
  torch::Tensor center = register_buffer("center", torch::zeros({2}));
};

struct Job : Trainer {
  std::shared_ptr<torch::nn::Module> build_model() override {
    net = std::make_shared<Centred>();
    if (dropout_is_off) net->dropout->eval();
    return net;
  }
  std::shared_ptr<const Dataset> train_dataset() override {
    return std::make_shared<Circle>(40, 0);
  }
  std::shared_ptr<const Dataset> validation_dataset() override {
    return std::make_shared<Circle>(23, masked);
  }
  Loss compute_loss(const Batch& batch) override {
    dropout_was_on = dropout_was_on || net->dropout->is_training();
    was_training = was_training || net->is_training();
    const at::Tensor y = batch["y"];
    const at::Tensor counts = (y >= 0).to(torch::kFloat);
    const at::Tensor errors = (net->forward(batch["x"]) - y).square() * counts;
    return {errors.sum() / counts.sum(), counts.sum().item<double>()};
  }
  void on_step_end(const StepReport& report) override { losses.push_back(report.loss); }
  void on_evaluation(const EvaluationReport& report) override {
    for (const auto& [name, value] : report.metrics.values()) evaluated.push_back(value);
  }

  std::shared_ptr<Centred> net;
  bool dropout_is_off = false, dropout_was_on = false, was_training = false;
  std::int64_t masked = 0;
  std::vector<double> losses, evaluated;
};

void run(Job& job, World& world) {
  OptionSet set("job", "");
  job.options.bind(set);
  job.options.logical_ranks = 5;
  job.options.micro_batch = 2;
  job.options.epochs = 3;
  job.options.eval_batch = 2;
  job.options.learning_rate = 0.1;
  run_training(job, world, set, nullptr);
}

World alone() { return World::create(RankEnv{}, WorldOptions{}); }

TEST(Evaluation, OfABufferThatMovesHasTheSameBitsAtEveryWorldSize) {
  World one = alone();
  Job expected, found;
  run(expected, one);
  run(found, *g_world);
  EXPECT_EQ(expected.losses, found.losses);
  EXPECT_EQ(expected.evaluated, found.evaluated);
  EXPECT_EQ(found.evaluated.size(), 3u);
}

// --eval-every says how often, and not what is trained.
TEST(Evaluation, LeavesNothingInTheModel) {
  World one = alone();
  Job often, once;
  once.options.eval_every = 0;
  run(often, one);
  run(once, one);
  EXPECT_EQ(often.losses, once.losses);
}

TEST(Evaluation, LeavesModulesInTheModesThatTheyHad) {
  World one = alone();
  Job job;
  job.dropout_is_off = true;
  run(job, one);
  EXPECT_TRUE(job.was_training);
  EXPECT_FALSE(job.dropout_was_on);
}

// Those of logical rank 0 and one more.
TEST(Evaluation, CountsMaskedBatchesForNothing) {
  Job job;
  job.masked = 6;
  run(job, *g_world);
  EXPECT_EQ(job.evaluated.size(), 3u);
  for (const double loss : job.evaluated) EXPECT_GT(loss, 0);
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  muster::World world = muster::make_test_world(std::chrono::seconds(30));
  muster::g_world = &world;
  return RUN_ALL_TESTS();
}
