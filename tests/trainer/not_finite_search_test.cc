// Who is named for a number that is not finite.
#include "not_finite_search.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <limits>

namespace muster::internal {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Net : torch::nn::Module {
  Net() {
    first = register_module("first", torch::nn::Linear(2, 2));
    rows = register_module("rows", torch::nn::LSTM(2, 2));
    last = register_module("last", torch::nn::Linear(2, 1));
  }
  torch::nn::Linear first{nullptr}, last{nullptr};
  torch::nn::LSTM rows{nullptr};
};

Batch batch_of(float value) {
  Batch batch;
  batch.tensors = {{"x", torch::full({3, 2}, value)}};
  batch.sample_ids = {0, 1, 2};
  return batch;
}

TEST(NotFiniteSearch, NamesTheModuleWhoseParametersWereRead) {
  Net net;
  const Batch batch = batch_of(1);
  EXPECT_EQ(find_not_finite(net, batch,
                            [&] {
                              const torch::Tensor h = net.first(batch["x"] * 3e38 * 2);
                              net.last(h);
                            }),
            "the output of aten::mul, before any module");
  {
    torch::NoGradGuard no_grad;
    net.first->weight.fill_(3e38);
  }
  EXPECT_EQ(find_not_finite(net, batch, [&] { net.last(torch::relu(net.first(batch["x"]))); }),
            "the output of module 'first' (aten::addmm)");
  {
    torch::NoGradGuard no_grad;
    net.first->weight.fill_(1);
  }
  EXPECT_EQ(
      find_not_finite(net, batch, [&] { torch::log(-net.first(batch["x"]).abs() - 1).sum(); }),
      "the output of aten::log, after module 'first'");
}

TEST(NotFiniteSearch, SeesParametersInLists) {
  Net net;
  const Batch batch = batch_of(1);
  EXPECT_EQ(find_not_finite(net, batch,
                            [&] {
                              net.first(batch["x"]);
                              const auto rows = net.rows(batch["x"].unsqueeze(1));
                              torch::log(std::get<0>(rows) - 10);
                            }),
            "the output of aten::log, after module 'rows'");
}

TEST(NotFiniteSearch, AMaskIsNoFault) {
  Net net;
  const Batch batch = batch_of(1);
  EXPECT_EQ(
      find_not_finite(
          net, batch,
          [&] {
            torch::empty({100});
            const torch::Tensor scores =
                net.first(batch["x"]).masked_fill(torch::ones({3, 2}, torch::kBool), -kInfinity);
            torch::softmax(scores, 1);
          }),
      "the output of aten::softmax, after module 'first'");
  EXPECT_THAT(find_not_finite(net, batch, [&] { net.first(batch["x"]); }),
              testing::HasSubstr("was finite the second time"));
}

TEST(NotFiniteSearch, LooksAtTheBatchAndTheParametersFirst) {
  Net net;
  const auto nothing = [] {};
  EXPECT_EQ(find_not_finite(net, batch_of(kInfinity), nothing), "'x' of the batch");
  {
    torch::NoGradGuard no_grad;
    net.last->bias.fill_(std::numeric_limits<float>::quiet_NaN());
  }
  EXPECT_EQ(find_not_finite(net, batch_of(1), nothing), "parameter 'last.bias'");
  EXPECT_THAT(find_not_finite(Net(), batch_of(1), [] { throw std::runtime_error("bent"); }),
              testing::HasSubstr("threw"));
}

}  // namespace
}  // namespace muster::internal
