// Weights that PyTorch wrote give PyTorch's logits, and are written back to the byte.
#include "muster/trainer/module_file.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>
#include <unistd.h>

#include <filesystem>

#include "gpt_file.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/safetensors.h"

namespace muster {
namespace {

namespace fs = std::filesystem;
namespace nn = torch::nn;
using ::testing::HasSubstr;

const fs::path kGolden = MUSTER_TEST_DIR "/golden";

torch::Tensor tensor_of(const fs::path& path, const std::string& name, at::ScalarType type) {
  const auto env = make_system_env();
  const auto file = checkpoint::SafetensorsFile::open(path, *env);
  const checkpoint::TensorRange range = file.whole(name);
  torch::Tensor tensor = torch::empty(range.shape, type);
  file.read(range, tensor.mutable_data_ptr());
  return tensor;
}

class ModuleFile : public testing::Test {
 protected:
  ModuleFile() { fs::create_directory(directory_); }
  ~ModuleFile() override { fs::remove_all(directory_); }

  std::string error_of(nn::Module& module) const {
    try {
      load_module(module, file_);
    } catch (const ConfigError& e) {
      return e.what();
    }
    return "";
  }

  fs::path directory_ =
      fs::temp_directory_path() / ("muster-module-file-" + std::to_string(getpid()));
  fs::path file_ = directory_ / "model.safetensors";
};

// A logit of 9 at most is the end of some 20 sums of up to 64 products, each rounded by 2^-24 of
// its largest partial sum: 9 * 20 * 64 * 2^-24 = 7e-4 at worst, and the square root of the terms is
// usual.
TEST_F(ModuleFile, WhatTorchWroteGivesTorchsLogits) {
  Gpt gpt = load_gpt(kGolden / "decoder.safetensors", 0.1, false);
  gpt->eval();
  EXPECT_EQ(gpt->tokens->weight.size(0), 256);
  const fs::path logits = kGolden / "decoder_logits.safetensors";
  const torch::NoGradGuard no_grad;
  const torch::Tensor found = gpt->forward(tensor_of(logits, "ids", at::kLong));
  const torch::Tensor expected = tensor_of(logits, "logits", at::kFloat);
  EXPECT_LT((found - expected).abs().max().item<float>(), 7e-4f);
  EXPECT_GT(expected.abs().max().item<float>(), 1.0f);
}

TEST_F(ModuleFile, IsWrittenBackToTheByte) {
  Gpt gpt = load_gpt(kGolden / "decoder.safetensors", 0.1, false);
  save_gpt(gpt, file_);
  const auto env = make_system_env();
  EXPECT_EQ(env->read_text(file_), env->read_text(kGolden / "decoder.safetensors"));
}

TEST_F(ModuleFile, KeepsBuffersAndConvertsPrecision) {
  nn::Sequential half(nn::Linear(3, 2), nn::BatchNorm1d(2)),
      full(nn::Linear(3, 2), nn::BatchNorm1d(2));
  half->forward(torch::randn({8, 3}));
  for (torch::Tensor p : half->parameters()) p.set_data(p.detach().to(torch::kBFloat16));
  save_module(*half, file_, {{"made_by", "a test"}});
  load_module(*full, file_);
  for (const auto& item : full->named_buffers())
    EXPECT_TRUE(
        torch::equal(item.value(), half->named_buffers()[item.key()].to(item.value().dtype())))
        << item.key();
  for (const auto& item : full->named_parameters())
    EXPECT_TRUE(torch::equal(item.value(), half->named_parameters()[item.key()].to(torch::kFloat)))
        << item.key();
}

TEST_F(ModuleFile, NamesEverythingThatDoesNotFitAndChangesNothing) {
  nn::Sequential written(nn::Linear(3, 2), nn::Linear(2, 2));
  save_module(*written, file_);
  nn::Sequential other(nn::Linear(3, 5), nn::ReLU(), nn::Linear(2, 2));
  const torch::Tensor before = other->parameters()[0].detach().clone();
  const std::string error = error_of(*other);
  EXPECT_THAT(error, HasSubstr("'0.weight': expected [5, 3], found [2, 3]"));
  EXPECT_THAT(error, HasSubstr("'1.weight': expected no such tensor, found one"));
  EXPECT_THAT(error, HasSubstr("'2.bias': expected it in the file, found nothing"));
  EXPECT_TRUE(torch::equal(other->parameters()[0], before));
}

}  // namespace
}  // namespace muster
