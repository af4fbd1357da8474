// A small decoder-only transformer with tied embeddings (Radford et al. 2019, pre-norm).
#ifndef MUSTER_EXAMPLES_GPT_H_
#define MUSTER_EXAMPLES_GPT_H_

#include <torch/torch.h>

#include <memory>

#include "muster/trainer/activation_checkpoint.h"

struct GptOptions {
  int64_t vocabulary = 256;
  int64_t context = 64;  // tokens
  int64_t width = 128;
  int64_t layers = 4;
  int64_t heads = 4;
  double dropout = 0.1;
  bool activation_checkpointing = false;  // of every block
};

struct GptBlockImpl : torch::nn::Module {
  explicit GptBlockImpl(const GptOptions& options)
      : heads(options.heads),
        norm1(torch::nn::LayerNormOptions({options.width})),
        qkv(options.width, 3 * options.width),
        project(options.width, options.width),
        norm2(torch::nn::LayerNormOptions({options.width})),
        expand(options.width, 4 * options.width),
        contract(4 * options.width, options.width),
        dropout(options.dropout) {
    register_module("norm1", norm1);
    register_module("qkv", qkv);
    register_module("project", project);
    register_module("norm2", norm2);
    register_module("expand", expand);
    register_module("contract", contract);
    register_module("dropout", dropout);
  }

  torch::Tensor forward(torch::Tensor x) {  // [n, t, width]
    x = x + dropout(project(attend(norm1(x))));
    return x + dropout(contract(torch::gelu(expand(norm2(x)))));
  }

  torch::Tensor attend(const torch::Tensor& x) {
    const int64_t n = x.size(0), t = x.size(1), width = x.size(2);
    const auto split = [&](const torch::Tensor& part) {
      return part.view({n, t, heads, width / heads})
          .transpose(1, 2);  // [n, heads, t, width / heads]
    };
    const auto parts = qkv(x).chunk(3, -1);
    const torch::Tensor y =
        at::scaled_dot_product_attention(split(parts[0]), split(parts[1]), split(parts[2]),
                                         /*attn_mask=*/{}, /*dropout_p=*/0.0, /*is_causal=*/true);
    return y.transpose(1, 2).reshape({n, t, width});
  }

  int64_t heads;
  torch::nn::LayerNorm norm1;
  torch::nn::Linear qkv, project;
  torch::nn::LayerNorm norm2;
  torch::nn::Linear expand, contract;
  torch::nn::Dropout dropout;
};
TORCH_MODULE(GptBlock);

struct GptImpl : torch::nn::Module {
  explicit GptImpl(const GptOptions& options)
      : tokens(options.vocabulary, options.width),
        positions(options.context, options.width),
        dropout(options.dropout),
        norm(torch::nn::LayerNormOptions({options.width})),
        activation_checkpointing(options.activation_checkpointing) {
    register_module("tokens", tokens);
    register_module("positions", positions);
    register_module("dropout", dropout);
    for (int64_t layer = 0; layer < options.layers; ++layer) blocks->push_back(GptBlock(options));
    register_module("blocks", blocks);
    register_module("norm", norm);
    torch::NoGradGuard no_grad;
    torch::nn::init::normal_(tokens->weight, 0.0, 0.02);
    torch::nn::init::normal_(positions->weight, 0.0, 0.02);
  }

  /// int64 [n, t] -> logits [n, t, vocabulary]; the embedding is the output layer too.
  torch::Tensor forward(const torch::Tensor& ids) {
    torch::Tensor x = tokens(ids) + positions->weight.narrow(0, 0, ids.size(1));
    x = dropout(x);
    for (const auto& module : *blocks) {
      GptBlock block(std::dynamic_pointer_cast<GptBlockImpl>(module));
      x = activation_checkpointing ? muster::activation_checkpoint(block, x) : block->forward(x);
    }
    return torch::linear(norm(x), tokens->weight);
  }

  torch::nn::Embedding tokens, positions;
  torch::nn::Dropout dropout;
  torch::nn::ModuleList blocks;
  torch::nn::LayerNorm norm;
  bool activation_checkpointing;
};
TORCH_MODULE(Gpt);

#endif  // MUSTER_EXAMPLES_GPT_H_
