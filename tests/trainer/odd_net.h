// A small model with one of each thing that makes sharding hard.
#ifndef MUSTER_TESTS_TRAINER_ODD_NET_H_
#define MUSTER_TESTS_TRAINER_ODD_NET_H_

#include <torch/torch.h>

namespace muster {

/// Tied, frozen and unused parameters, some that a pass may leave out, one larger than the smallest
/// bucket; batch norm and dropout. `ids` are below 11.
struct OddNet : torch::nn::Module {
  OddNet() {
    embedding = register_module("embedding", torch::nn::Embedding(11, 16));
    norm = register_module("norm", torch::nn::BatchNorm1d(16));
    dropout = register_module("dropout", torch::nn::Dropout(0.2));
    unused = register_module("unused", torch::nn::Linear(3, 3));
    sometimes = register_module("sometimes", torch::nn::Linear(16, 16));
    // Larger than the smallest bucket.
    widen = register_module("widen", torch::nn::Linear(16, 20000));
    narrow = register_module("narrow", torch::nn::Linear(20000, 16));
    frozen = register_parameter("frozen", torch::full({16}, 0.5), /*requires_grad=*/false);
  }

  torch::Tensor forward(const torch::Tensor& ids, bool use_all) {
    torch::Tensor x = dropout(norm(embedding(ids)) * frozen);
    if (use_all) x = x + torch::relu(sometimes(x));
    x = x + 0.01 * narrow(torch::tanh(widen(x)));
    return torch::linear(x, embedding->weight);  // tied
  }

  torch::nn::Embedding embedding{nullptr};
  torch::nn::BatchNorm1d norm{nullptr};
  torch::nn::Dropout dropout{nullptr};
  torch::nn::Linear unused{nullptr}, sometimes{nullptr}, widen{nullptr}, narrow{nullptr};
  torch::Tensor frozen;
};

}  // namespace muster

#endif  // MUSTER_TESTS_TRAINER_ODD_NET_H_
