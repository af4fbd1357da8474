// What programs that train a Gpt on text have in common: the loss, and writing on.
#ifndef MUSTER_EXAMPLES_GPT_TEXT_H_
#define MUSTER_EXAMPLES_GPT_TEXT_H_

#include <torch/torch.h>

#include <algorithm>
#include <vector>

#include "gpt.h"
#include "muster/trainer/trainer.h"

/// The mean cross entropy a token, in nats; the weight is the number of tokens.
inline muster::Loss next_token_loss(Gpt& model, const muster::Batch& batch) {
  const torch::Tensor logits = model->forward(batch["input"]);
  const torch::Tensor target = batch["target"];
  return {torch::nn::functional::cross_entropy(logits.flatten(0, 1), target.flatten()),
          static_cast<double>(target.numel())};
}

/// `tokens`, and `count` more that the model draws.
inline std::vector<int64_t> write_on(Gpt& model, std::vector<int64_t> tokens, int count) {
  constexpr double kTemperature = 0.8;
  const torch::NoGradGuard no_grad;
  const int64_t context = model->positions->weight.size(0);
  for (int i = 0; i < count; ++i) {
    const auto seen = std::min(context, static_cast<int64_t>(tokens.size()));
    const torch::Tensor ids = torch::tensor(std::vector<int64_t>(tokens.end() - seen, tokens.end()))
                                  .to(model->tokens->weight.device());
    const torch::Tensor logits = model->forward(ids.unsqueeze(0))[0][-1];
    tokens.push_back(
        torch::multinomial(torch::softmax(logits / kTemperature, -1), 1).item<int64_t>());
  }
  return tokens;
}

#endif  // MUSTER_EXAMPLES_GPT_TEXT_H_
