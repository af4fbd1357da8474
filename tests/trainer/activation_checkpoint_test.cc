// Activation checkpointing: the same bits, less memory; and what the backward pass refuses.
#include "muster/trainer/activation_checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <string>
#include <vector>

#include "allocation_meter.h"
#include "muster/base/error.h"
#include "muster/trainer/precision.h"

namespace muster {
namespace {

using testing::HasSubstr;

// Draws random numbers, keeps buffers, changes tensors in place, and has a parameter used twice.
struct BlockImpl : torch::nn::Module {
  BlockImpl() : expand(64, 256), contract(256, 64), norm(256), dropout(0.2) {
    register_module("expand", expand);
    register_module("contract", contract);
    register_module("norm", norm);
    register_module("dropout", dropout);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    ++runs;
    const torch::Tensor hidden = dropout(norm(expand(x)).relu_());
    return x + contract(torch::gelu(hidden)) + torch::linear(x.tanh(), expand->weight).mean();
  }
  torch::nn::Linear expand, contract;
  torch::nn::BatchNorm1d norm;
  torch::nn::Dropout dropout;
  int runs = 0;
};
TORCH_MODULE(Block);

enum class Mode { kPlain, kCheckpointed, kNested };

struct NetImpl : torch::nn::Module {
  NetImpl() {
    for (int i = 0; i < 6; ++i) blocks->push_back(Block());
    register_module("blocks", blocks);
  }
  torch::Tensor forward(torch::Tensor x, Mode mode) {
    if (mode == Mode::kNested) {
      return activation_checkpoint(
          *this,
          [this](const std::vector<at::Tensor>& inputs) {
            return std::vector<at::Tensor>{forward(inputs[0], Mode::kCheckpointed)};
          },
          {x})[0];
    }
    for (const auto& module : *blocks) {
      Block block(std::dynamic_pointer_cast<BlockImpl>(module));
      x = mode == Mode::kPlain ? block->forward(x) : activation_checkpoint(block, x);
    }
    return x;
  }
  torch::nn::ModuleList blocks;
};
TORCH_MODULE(Net);

struct Result {
  std::vector<torch::Tensor> gradients, buffers;
  torch::Tensor loss, next_random;
  std::int64_t kept_bytes = 0;
};

Result train_once(Mode mode, Precision precision) {
  torch::manual_seed(5);
  Net net;
  const torch::Tensor x = torch::randn({512, 64});
  const internal::AllocationMeter meter;
  torch::Tensor loss;
  {
    const Autocast autocast(precision);
    loss = net->forward(x, mode).square().mean();
  }
  Result result;
  result.kept_bytes = meter.live_bytes();
  loss.backward();
  for (const torch::Tensor& parameter : net->parameters())
    result.gradients.push_back(parameter.grad());
  result.buffers = net->buffers();
  result.loss = loss.detach();
  result.next_random = torch::rand({4});
  return result;
}

void expect_equal(const Result& expected, const Result& found) {
  EXPECT_TRUE(torch::equal(expected.loss, found.loss));
  EXPECT_TRUE(torch::equal(expected.next_random, found.next_random));
  ASSERT_EQ(expected.gradients.size(), found.gradients.size());
  for (std::size_t i = 0; i < expected.gradients.size(); ++i)
    EXPECT_TRUE(torch::equal(expected.gradients[i], found.gradients[i])) << i;
  for (std::size_t i = 0; i < expected.buffers.size(); ++i)
    EXPECT_TRUE(torch::equal(expected.buffers[i], found.buffers[i])) << i;
}

TEST(ActivationCheckpoint, GivesTheBitsOfThePlainPassWithAFifthOfItsMemory) {
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16Mixed}) {
    const Result plain = train_once(Mode::kPlain, precision);
    for (const Mode mode : {Mode::kCheckpointed, Mode::kNested}) {
      SCOPED_TRACE(static_cast<int>(mode));
      const Result found = train_once(mode, precision);
      expect_equal(plain, found);
      EXPECT_LT(found.kept_bytes, plain.kept_bytes / 5);
    }
  }
}

TEST(ActivationCheckpoint, RunsABlockTwiceForAGradientAndOnceWithoutOne) {
  Block block;
  const torch::Tensor x = torch::randn({4, 64});
  activation_checkpoint(block, x).sum().backward();
  EXPECT_EQ(block->runs, 2);
  const torch::NoGradGuard no_grad;
  activation_checkpoint(block, x);
  EXPECT_EQ(block->runs, 3);
}

TEST(ActivationCheckpoint, AGraphThatIsKeptCanBeWalkedAgain) {
  torch::manual_seed(5);
  Block block;
  const torch::Tensor x = torch::randn({4, 64}, torch::requires_grad());
  const torch::Tensor sum = activation_checkpoint(block, x).sum();
  const torch::Tensor first = torch::autograd::grad({sum}, {x}, {}, /*retain_graph=*/true)[0];
  EXPECT_TRUE(torch::equal(first, torch::autograd::grad({sum}, {x})[0]));
}

template <typename Work>
std::string refusal_of(const Work& work) {
  try {
    work();
  } catch (const UserError& e) {
    return e.what();
  }
  return "no UserError";
}

std::vector<at::Tensor> run_module(torch::nn::Module& module, const CheckpointedForward& forward,
                                   const torch::Tensor& x) {
  return activation_checkpoint(module, forward, {x});
}

TEST(ActivationCheckpoint, AForwardPassThatDoesOtherwiseTheSecondTimeIsRefused) {
  torch::nn::Linear linear(64, 64);
  int runs = 0;
  const torch::Tensor y = run_module(
      *linear,
      [&](const std::vector<at::Tensor>& inputs) {
        const torch::Tensor out = linear(inputs[0]);
        return std::vector<at::Tensor>{++runs == 1 ? out.exp() : out};
      },
      torch::randn({4, 64}))[0];
  EXPECT_THAT(refusal_of([&] { y.sum().backward(); }),
              HasSubstr("the forward pass must do the same each time"));
}

TEST(ActivationCheckpoint, AnInputChangedInPlaceIsRefused) {
  Block block;
  torch::Tensor x = torch::randn({4, 64});
  const torch::Tensor y = activation_checkpoint(block, x);
  x.add_(1);
  EXPECT_THAT(refusal_of([&] { y.sum().backward(); }), HasSubstr("input 0"));
}

TEST(ActivationCheckpoint, ASavedTensorChangedInPlaceIsRefused) {
  torch::nn::Linear linear(64, 64);
  const torch::Tensor y = run_module(
      *linear,
      [&](const std::vector<at::Tensor>& inputs) {
        torch::Tensor hidden = linear(inputs[0]);
        const torch::Tensor product = hidden * hidden;
        hidden.add_(1);
        return std::vector<at::Tensor>{product};
      },
      torch::randn({4, 64}))[0];
  EXPECT_THAT(refusal_of([&] { y.sum().backward(); }), HasSubstr("changed in place later"));
}

TEST(ActivationCheckpoint, AnErrorOfTheBlockComesThrough) {
  torch::nn::Linear linear(64, 64);
  int runs = 0;
  const torch::Tensor y = run_module(
      *linear,
      [&](const std::vector<at::Tensor>& inputs) {
        if (++runs == 2) throw UserError("out of thread");
        return std::vector<at::Tensor>{linear(inputs[0])};
      },
      torch::randn({4, 64}))[0];
  EXPECT_THAT(refusal_of([&] { y.sum().backward(); }), HasSubstr("out of thread"));
}

/// Multiplied by a buffer, which may move before it is.
struct ScaledImpl : torch::nn::Module {
  explicit ScaledImpl(bool buffer_moves) : moves(buffer_moves) {}
  torch::Tensor forward(const torch::Tensor& x) {
    if (moves) {
      const torch::NoGradGuard no_grad;
      scale.mul_(0.5).add_(x.detach().mean(0));
    }
    return x * weight * scale;
  }
  torch::Tensor forward_again(const torch::Tensor& x) {
    return activation_checkpoint(*this,
                                 [this](const std::vector<at::Tensor>& inputs) {
                                   return std::vector<at::Tensor>{forward(inputs[0])};
                                 },
                                 {x})[0];
  }
  const bool moves;
  torch::Tensor weight = register_parameter("weight", torch::ones({4}));
  torch::Tensor scale = register_buffer("scale", torch::ones({4}));
};
TORCH_MODULE(Scaled);

// A mask that blocks share, say, of which only some are checkpointed.
TEST(ActivationCheckpoint, LeavesABufferAloneThatOthersHaveSaved) {
  Scaled scaled(/*moves=*/false);
  const torch::Tensor y = scaled->forward_again(scaled->forward(torch::full({2, 4}, 3.0f)));
  y.sum().backward();
  EXPECT_TRUE(torch::equal(scaled->weight.grad(), torch::full({4}, 12.0f)));
}

// x is 3 and the scale 1: it moves to 3.5, the first call gives 10.5, it moves to 12.25, the second
// gives 128.625. Either call's derivative by the weight is that.
TEST(ActivationCheckpoint, KeepsWhatABlockSavedOfABufferThatMovesLater) {
  Scaled scaled(/*moves=*/true);
  const torch::Tensor x = torch::full({2, 4}, 3.0f);
  scaled->forward_again(scaled->forward_again(x)).sum().backward();
  EXPECT_TRUE(torch::equal(scaled->weight.grad(), torch::full({4}, 4 * 128.625f)))
      << scaled->weight.grad();
  EXPECT_TRUE(torch::equal(scaled->scale, torch::full({4}, 12.25f)));
}

}  // namespace
}  // namespace muster
