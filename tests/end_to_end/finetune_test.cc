// A decoder from PyTorch, fine-tuned over ranks and written for PyTorch again.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "job.h"
#include "muster/base/env.h"

namespace muster::testing {
namespace {

const std::string kDecoder = MUSTER_SOURCE_DIR "/tests/trainer/golden/decoder.safetensors";

std::vector<std::string> options(int steps) {
  return {"--data",       MUSTER_SHAKESPEARE_DIR,
          "--model",      kDecoder,
          "--steps",      std::to_string(steps),
          "--eval-every", "0",
          "--eval-batch", "1000"};
}

double perplexity_in(const ProgramResult& result) {
  EXPECT_EQ(result.exit_code, 0) << result.err;
  const std::size_t at = result.out.find("perplexity ");
  EXPECT_NE(at, std::string::npos) << result.out << result.err;
  return at == std::string::npos ? 0 : std::atof(result.out.c_str() + at + 11);
}

TEST(Finetune, BringsThePerplexityDownWithTheSameBitsEverywhere) {
  Job untouched("finetune", options(1));
  const double before = perplexity_in(
      untouched.run(1, {}, {"--learning-rate", "0", "--precision", "fp32", "--zero-stage", "0"}));
  EXPECT_EQ(text_of(untouched.checkpoints() / "model.safetensors"), text_of(kDecoder))
      << "without an update PyTorch would get its own file back";

  std::vector<std::string> training = options(60);
  training.insert(training.end(), {"--learning-rate", "0.004"});
  Job job("finetune", training);
  const ProgramResult result = job.run(2);
  EXPECT_LT(perplexity_in(result), 0.98 * before);
  EXPECT_THAT(result.out, ::testing::HasSubstr("\nKING"));
  const std::string exported = text_of(job.checkpoints() / "model.safetensors");
  EXPECT_EQ(exported.size(), text_of(kDecoder).size());

  Job alone("finetune", training);
  ASSERT_EQ(alone.run(1, {}, {"--offload", "none", "--zero-stage", "0"}).exit_code, 0);
  EXPECT_EQ(alone.state_hash(), job.state_hash());
  EXPECT_EQ(text_of(alone.checkpoints() / "model.safetensors"), exported);
}

TEST(Finetune, WhatWasTrainedHasTheSameLogitsInPyTorch) {
  const std::filesystem::path python =
      cache_directory() / "peers-torch-" MUSTER_TORCH_VERSION / "bin" / "python3";
  if (!std::filesystem::exists(python))
    GTEST_SKIP() << "no PyTorch for Python in " << python << "; compare_training installs it";
  Job job("finetune", options(20));
  const std::filesystem::path logits = job.directory() / "logits.safetensors";
  ASSERT_EQ(job.run(2, {}, {"--logits", logits.string()}).exit_code, 0);
  const ProgramResult result =
      Program({python.string(), MUSTER_SOURCE_DIR "/tests/trainer/golden/make_decoder.py",
               "--check", (job.checkpoints() / "model.safetensors").string(), logits.string()},
              job.directory())
          .wait();
  ASSERT_EQ(result.exit_code, 0) << result.err;
  double difference = 1, largest = 0;
  ASSERT_EQ(std::sscanf(result.out.c_str(), "largest difference %lf of logits up to %lf",
                        &difference, &largest),
            2)
      << result.out;
  EXPECT_GT(largest, 1);
  // float32, 2 layers: a few roundings.
  EXPECT_LT(difference, 1e-5 * largest);
}

TEST(Finetune, AWrongFileIsNamed) {
  Job job("finetune", options(1));
  const ProgramResult result = job.run(1, {}, {"--model", "/nonexistent.safetensors"});
  EXPECT_EQ(result.exit_code, 74);
  EXPECT_THAT(result.err, ::testing::HasSubstr("/nonexistent.safetensors"));
}

}  // namespace
}  // namespace muster::testing
