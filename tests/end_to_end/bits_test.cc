// The promise: the same bits at every world size and ZeRO stage, and however often the job was
// killed and moved.
#include <gtest/gtest.h>
#include <signal.h>

#include <random>

#include "job.h"

namespace muster::testing {
namespace {

constexpr int kBitsSteps = 40;

struct Example {
  const char* program;
  std::vector<std::string> (*options)(int steps);
};

class Bits : public ::testing::TestWithParam<Example> {
 protected:
  Job make_job() const { return Job(GetParam().program, GetParam().options(kBitsSteps)); }
};

std::vector<std::string> at_stage(int stage) { return {"--zero-stage", std::to_string(stage)}; }

TEST_P(Bits, AreTheSameAtEveryWorldSizeAndStage) {
  std::string hash, metrics;
  const std::pair<int, int> sizes_and_stages[] = {{1, 0}, {2, 0}, {3, 1}, {4, 1},
                                                  {2, 2}, {4, 2}, {3, 3}, {4, 3}};
  for (const auto& [world_size, stage] : sizes_and_stages) {
    SCOPED_TRACE("world size " + std::to_string(world_size) + ", stage " + std::to_string(stage));
    Job job(GetParam().program, GetParam().options(kBitsSteps));
    const ProgramResult result = job.run(world_size, {}, at_stage(stage));
    ASSERT_EQ(result.exit_code, 0) << result.err;
    ASSERT_FALSE(job.checkpoint_paths().empty()) << result.err;
    EXPECT_EQ(job.checkpoint_paths().back().filename(), "step-00000040");
    if (world_size == 1) {
      hash = job.state_hash();
      metrics = job.metrics();
      EXPECT_GE(std::count(metrics.begin(), metrics.end(), '\n'), kBitsSteps);
    }
    EXPECT_EQ(job.state_hash(), hash);
    EXPECT_EQ(job.metrics(), metrics);
  }
}

TEST_P(Bits, AreTheSameAfterFiveKillsAtOtherWorldSizesAndStages) {
  Job calm(GetParam().program, GetParam().options(kBitsSteps));
  ASSERT_EQ(calm.run(2).exit_code, 0);

  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  Job job(GetParam().program, GetParam().options(kBitsSteps));
  const std::pair<int, int> lives[] = {{3, 1}, {1, 0}, {4, 2}, {2, 3}, {3, 3}};
  int kills = 0;
  for (const auto& [world_size, stage] : lives) {
    const std::int64_t target = std::uniform_int_distribution<int>(1, kBitsSteps - 5)(random);
    const int victim = std::uniform_int_distribution<int>(0, world_size - 1)(random);
    auto program = job.start(world_size, {"--max-restarts", "0"}, at_stage(stage));
    wait_until([&] { return !program->running() || job.step() >= target; },
               std::chrono::seconds(60));
    if (program->running() && job.signal_rank(victim, SIGKILL)) ++kills;
    const ProgramResult result = program->wait();
    EXPECT_TRUE(result.exit_code == 75 || result.exit_code == 0) << result.err;
  }
  EXPECT_GE(kills, 1) << "the job was always done before the kill";
  const ProgramResult last = job.run(2);
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_EQ(job.metrics(), calm.metrics());
}

INSTANTIATE_TEST_SUITE_P(Examples, Bits,
                         ::testing::Values(Example{"fashion_mnist", fashion_mnist_options},
                                           Example{"char_gpt", char_gpt_options}),
                         [](const auto& example) { return std::string(example.param.program); });

// Autocast's copies of parameters, which two runs of a block make twice, show nowhere.
TEST(Precision, AutocastHasTheSameBitsEverywhereWithAndWithoutActivationCheckpointing) {
  constexpr int kFewSteps = 10;
  for (const char* precision : {"bf16-mixed", "fp16-mixed", "bf16"}) {
    SCOPED_TRACE(precision);
    std::vector<std::string> options = char_gpt_options(kFewSteps);
    options.insert(options.end(), {"--precision", precision});
    Job alone("char_gpt", options);
    ASSERT_EQ(alone.run(1, {}, at_stage(0)).exit_code, 0);
    for (const int stage : {2, 3}) {
      Job job("char_gpt", options);
      std::vector<std::string> circumstances = at_stage(stage);
      circumstances.push_back("--activation-checkpointing");
      const ProgramResult result = job.run(stage + 1, {}, circumstances);
      ASSERT_EQ(result.exit_code, 0) << result.err;
      EXPECT_EQ(job.state_hash(), alone.state_hash());
      EXPECT_EQ(job.metrics(), alone.metrics());
    }
  }
}

class PrecisionAcrossKills : public ::testing::TestWithParam<std::vector<std::string>> {};

// Checkpoints hold the masters of bf16, and the scale of fp16, of which the first steps overflow.
INSTANTIATE_TEST_SUITE_P(Of, PrecisionAcrossKills,
                         ::testing::Values(std::vector<std::string>{"bf16"},
                                           std::vector<std::string>{"fp16-mixed", "--loss-scale",
                                                                    "1e9"}));

TEST_P(PrecisionAcrossKills, GoesOnWithTheSameBits) {
  std::vector<std::string> options = char_gpt_options(20);
  options.insert(options.end(), {"--ema", "0.9", "--precision"});
  options.insert(options.end(), GetParam().begin(), GetParam().end());
  Job calm("char_gpt", options);
  ASSERT_EQ(calm.run(1, {}, at_stage(0)).exit_code, 0);
  Job job("char_gpt", options);
  auto program = job.start(3, {"--max-restarts", "0"}, at_stage(3));
  ASSERT_TRUE(wait_until([&] { return job.step() >= 7; }, std::chrono::seconds(60)));
  ASSERT_TRUE(job.signal_rank(1, SIGKILL));
  EXPECT_EQ(program->wait().exit_code, 75);
  const ProgramResult last = job.run(2, {}, at_stage(2));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_EQ(job.metrics(), calm.metrics());
  if (GetParam().size() > 1) {
    for (const char* skipped : {"\"skipped\":true", "\"skipped\":false"})
      EXPECT_NE(job.metrics().find(skipped), std::string::npos) << skipped;
  }
}

// What a rule keeps of whole parameters, the average of weights and the groups' settings.
TEST(Optimizers, GoOnWithTheSameBitsAfterAKill) {
  std::vector<std::string> options = char_gpt_options(kBitsSteps);
  options.insert(options.end(), {"--optimizer", "adafactor", "--ema", "0.9", "--learning-rate",
                                 "0.02", "--eval-every", "1", "--parameter-groups",
                                 "*.bias: learning-rate-factor=0.5; *: weight-decay=0.1"});
  Job calm("char_gpt", options);
  ASSERT_EQ(calm.run(1, {}, at_stage(0)).exit_code, 0);
  Job job("char_gpt", options);
  auto program = job.start(3, {"--max-restarts", "0"}, at_stage(3));
  ASSERT_TRUE(wait_until([&] { return job.step() >= 12; }, std::chrono::seconds(60)));
  ASSERT_TRUE(job.signal_rank(1, SIGKILL));
  EXPECT_EQ(program->wait().exit_code, 75);
  const ProgramResult last = job.run(2, {}, at_stage(1));
  ASSERT_EQ(last.exit_code, 0) << last.err;
  EXPECT_EQ(job.state_hash(), calm.state_hash());
  EXPECT_EQ(job.metrics(), calm.metrics());
}

/// The first 64 pictures of each part of Fashion-MNIST, since evaluating ResNet-18 on all of them
/// takes minutes.
void make_small_fashion_mnist(const std::filesystem::path& directory) {
  std::filesystem::create_directory(directory);
  const std::string script = R"(
    set -e  # and not pipefail: dd leaves before zcat is done
    for part in train t10k; do
      { printf '\0\0\10\3\0\0\0\100\0\0\0\34\0\0\0\34'
        zcat "$1/$part-images-idx3-ubyte.gz" | dd bs=784 count=64 skip=16 iflag=skip_bytes,fullblock status=none
      } | gzip > "$2/$part-images-idx3-ubyte.gz"
      { printf '\0\0\10\1\0\0\0\100'
        zcat "$1/$part-labels-idx1-ubyte.gz" | dd bs=64 count=1 skip=8 iflag=skip_bytes,fullblock status=none
      } | gzip > "$2/$part-labels-idx1-ubyte.gz"
    done)";
  const ProgramResult result =
      Program({"bash", "-c", script, "bash", MUSTER_FASHION_MNIST_DIR, directory.string()},
              directory)
          .wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
}

TEST(ResNet18, TrainsToTheSameBitsAtEveryWorldSize) {
  std::string hash;
  for (const int world_size : {1, 3}) {
    ScratchDirectory data;
    ASSERT_NO_FATAL_FAILURE(make_small_fashion_mnist(data.path() / "data"));
    std::vector<std::string> options = fashion_mnist_options(3);
    options.insert(options.end(), {"--model", "resnet18", "--micro-batch", "4", "--data",
                                   (data.path() / "data").string()});
    Job job("fashion_mnist", options);
    const ProgramResult result = job.run(world_size);
    ASSERT_EQ(result.exit_code, 0) << result.err;
    if (world_size == 1) hash = job.state_hash();
    EXPECT_EQ(job.state_hash(), hash) << "world size " << world_size;
  }
}

TEST(Elastic, TheLauncherItselfGoesOnWithFewerRanksAndTheSameBits) {
  Job calm("fashion_mnist", fashion_mnist_options(kBitsSteps));
  ASSERT_EQ(calm.run(2).exit_code, 0);
  for (const int victim : {0, 2}) {
    Job job("fashion_mnist", fashion_mnist_options(kBitsSteps));
    auto program = job.start(3, {"--elastic", "2:3"});
    ASSERT_TRUE(wait_until([&] { return job.step() >= 12; }, std::chrono::seconds(60)));
    ASSERT_TRUE(job.signal_rank(victim, SIGKILL));
    const ProgramResult result = program->wait();
    ASSERT_EQ(result.exit_code, 0) << result.err;
    EXPECT_NE(result.err.find("recovered in"), std::string::npos) << result.err;
    EXPECT_EQ(job.run_file().at("world_size"), 2);
    EXPECT_EQ(job.state_hash(), calm.state_hash()) << "victim " << victim;
    EXPECT_EQ(job.metrics(), calm.metrics()) << "victim " << victim;
  }
}

}  // namespace
}  // namespace muster::testing
