// Fine-tunes a small decoder that PyTorch made: muster run -n 2 -- finetune --model
// FILE.safetensors
#include <torch/torch.h>

#include <cstdio>
#include <string>

#include "gpt_file.h"
#include "gpt_text.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/data_loader/text_corpus.h"
#include "muster/data_loader/token_windows.h"
#include "muster/trainer/main.h"

/// Texts as bytes, which are the decoder's tokens.
class Finetune : public muster::Trainer {
 public:
  Finetune() {
    options.precision = "bf16-mixed";
    options.zero_stage = 2;
    options.offload = "optimizer";
    options.accumulation_steps = 2;
    options.micro_batch = 4;
    options.steps = 300;
    options.learning_rate = 2e-3;
    options.schedule = "linear";
    options.warmup_steps = 20;
    options.weight_decay = 0.01;
    options.clip_norm = 1.0;
  }

  void add_options(muster::OptionSet& set) override {
    set.add("data", &data_, "A text file, or a directory of .txt files");
    set.add("model", &model_file_, "The decoder to begin with, a safetensors file");
    set.add("dropout", &dropout_, "Probability");
    set.add("logits", &logits_file_, "File for some logits at the end, to compare with PyTorch's");
  }

  bool offers_activation_checkpointing() const override { return true; }

  std::shared_ptr<torch::nn::Module> build_model() override {
    if (model_file_.empty()) {
      throw muster::ConfigError(
          "--model: expected a decoder in a safetensors file, found none; "
          "tests/trainer/golden/make_decoder.py makes one");
    }
    model_ = load_gpt(model_file_, dropout_, options.activation_checkpointing);
    bytes_ = read_bytes();
    return model_.ptr();
  }

  std::shared_ptr<const muster::Dataset> train_dataset() override {
    return windows(bytes_.slice(0, 0, test_begin()));
  }
  std::shared_ptr<const muster::Dataset> test_dataset() override {
    return windows(bytes_.slice(0, test_begin()));
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    return next_token_loss(model_, batch);
  }

  void evaluate_batch(const muster::Batch& batch, muster::MetricSums& sums) override {
    const muster::Loss loss = compute_loss(batch);
    sums.add_perplexity("perplexity", loss.mean.item<double>(), *loss.weight);
  }

  /// Beside the checkpoints, for PyTorch to load.
  void on_finished() override {
    if (!options.checkpoint_dir.empty())
      save_gpt(model_, options.run_directory() / "model.safetensors");
    if (!logits_file_.empty()) save_logits();
    const std::string begin = "\nKING";
    const std::vector<int64_t> text = write_on(model_, {begin.begin(), begin.end()}, 300);
    std::printf("%s\n", std::string(text.begin(), text.end()).c_str());  // a token is a byte
  }

 private:
  torch::Tensor read_bytes() const {
    const muster::TextCorpus corpus = muster::read_text_corpus(data_);
    const std::string& letters = corpus.vocabulary.bytes();
    torch::Tensor byte_of = torch::empty({corpus.vocabulary.size()}, torch::kByte);
    std::copy(letters.begin(), letters.end(), byte_of.mutable_data_ptr<uint8_t>());
    const int64_t vocabulary = model_->tokens->weight.size(0);
    if (byte_of.max().item<int64_t>() >= vocabulary) {
      throw muster::ConfigError("--data: expected texts of bytes below " +
                                std::to_string(vocabulary) + ", the decoder's tokens, found " +
                                std::to_string(byte_of.max().item<int64_t>()) +
                                "; take plain ASCII, or another decoder");
    }
    return byte_of.index_select(0, corpus.tokens.to(torch::kLong));
  }

  /// Of the first windows of the test data.
  void save_logits() {
    const torch::NoGradGuard no_grad;
    const int64_t context = model_->positions->weight.size(0);
    const torch::Tensor ids =
        bytes_.slice(0, test_begin(), test_begin() + 2 * context).view({2, context});
    torch::nn::Module both;
    both.register_buffer("ids", ids.to(torch::kLong));
    both.register_buffer("logits", model_->forward(ids.to(torch::kLong)));
    muster::save_module(both, logits_file_);
  }

  std::shared_ptr<const muster::Dataset> windows(const torch::Tensor& bytes) const {
    return std::make_shared<muster::TokenWindows>(bytes, model_->positions->weight.size(0));
  }

  int64_t test_begin() const { return bytes_.numel() / 100 * 99; }

  std::string data_ = (muster::cache_directory() / "datasets" / "shakespeare").string();
  std::string model_file_;
  double dropout_ = 0.0;
  std::string logits_file_;
  torch::Tensor bytes_;
  Gpt model_{nullptr};
};

int main(int argc, char** argv) { return muster::main<Finetune>(argc, argv); }
