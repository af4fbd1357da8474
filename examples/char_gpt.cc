// Learns to write like Shakespeare, character by character: muster run -n 2 -- char_gpt --steps
// 1000
#include <torch/torch.h>

#include <cstdio>

#include "gpt_text.h"
#include "muster/base/env.h"
#include "muster/data_loader/text_corpus.h"
#include "muster/data_loader/token_windows.h"
#include "muster/trainer/main.h"

class CharGpt : public muster::Trainer {
 public:
  CharGpt() {
    options.micro_batch = 8;
    options.steps = 1500;
    options.learning_rate = 2e-3;
    options.schedule = "cosine";
    options.warmup_steps = 50;
    options.weight_decay = 0.1;
    options.beta2 = 0.99;
    options.clip_norm = 1.0;
  }

  void add_options(muster::OptionSet& set) override {
    set.add("data", &data_, "A text file, or a directory of .txt files");
    set.add("context", &gpt_.context, "Characters the model sees at once");
    set.add("width", &gpt_.width, "Of the model");
    set.add("layers", &gpt_.layers, "Transformer blocks");
    set.add("heads", &gpt_.heads, "Attention heads in a block");
    set.add("dropout", &gpt_.dropout, "Probability");
  }

  bool offers_activation_checkpointing() const override { return true; }

  std::shared_ptr<torch::nn::Module> build_model() override {
    corpus_ = muster::read_text_corpus(data_);
    gpt_.vocabulary = corpus_->vocabulary.size();
    gpt_.activation_checkpointing = options.activation_checkpointing;
    model_ = Gpt(gpt_);
    return model_.ptr();
  }

  std::shared_ptr<const muster::Dataset> train_dataset() override {
    return std::make_shared<muster::TokenWindows>(corpus_->tokens.slice(0, 0, test_begin()),
                                                  gpt_.context);
  }
  std::shared_ptr<const muster::Dataset> test_dataset() override {
    return std::make_shared<muster::TokenWindows>(corpus_->tokens.slice(0, test_begin()),
                                                  gpt_.context);
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    return next_token_loss(model_, batch);
  }

  void evaluate_batch(const muster::Batch& batch, muster::MetricSums& sums) override {
    const muster::Loss loss = compute_loss(batch);
    sums.add("loss", loss.mean.item<double>() * *loss.weight, *loss.weight);
    sums.add_perplexity("perplexity", loss.mean.item<double>(), *loss.weight);
  }

  void on_finished() override {
    const muster::CharVocabulary& vocabulary = corpus_->vocabulary;
    std::printf("%s\n",
                vocabulary.decode(write_on(model_, vocabulary.encode("\nKING"), 400)).c_str());
  }

 private:
  int64_t test_begin() const {
    return corpus_->tokens.numel() / 100 * 99;
  }  // the last hundredth is for the test

  std::string data_ = (muster::cache_directory() / "datasets" / "shakespeare").string();
  GptOptions gpt_;
  std::optional<muster::TextCorpus> corpus_;
  Gpt model_{nullptr};
};

int main(int argc, char** argv) { return muster::main<CharGpt>(argc, argv); }
