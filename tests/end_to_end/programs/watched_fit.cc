// A fit whose score is prescribed, which writes down what it is told, and may die or be given
// numbers that are too large: for the tests of the loop. What is no part of the job is told by the
// environment: with MUSTER_TEST_DIE_AT the last rank of the first generation dies after that step
// ("end": rank 0 in on_finished()), MUSTER_TEST_SAMPLES is the size of the training data.
#include <signal.h>
#include <torch/torch.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "muster/base/rank_env.h"
#include "muster/checkpoint/layout.h"
#include "muster/data_loader/tensor_dataset.h"
#include "muster/trainer/main.h"
#include "muster/trainer/module_file.h"

/// Three layers that are gathered apart at ZeRO stage 3, which holds two of them when told to
/// fetch none ahead.
struct Net : torch::nn::Module {
  Net() {
    layers = register_module("layers",
                             torch::nn::ModuleList(torch::nn::Linear(3, 4), torch::nn::Linear(4, 4),
                                                   torch::nn::Linear(4, 1)));
    torch::nn::init::constant_(layer(0)->weight, 0.5);
  }
  torch::Tensor forward(const torch::Tensor& x) {
    return layer(2)->forward(layer(1)->forward(torch::relu(layer(0)->forward(x))));
  }
  std::shared_ptr<torch::nn::LinearImpl> layer(std::size_t i) {
    return layers->ptr<torch::nn::LinearImpl>(i);
  }
  torch::nn::ModuleList layers;
};

class WatchedFit : public muster::Trainer {
 public:
  WatchedFit() {
    options.epochs = 20;
    options.micro_batch = 4;
    options.learning_rate = 0.01;
  }

  void add_options(muster::OptionSet& set) override {
    set.add("best-at", &best_at_, "The step at which the score is best");
    set.add("all-metrics", &all_metrics_, "Evaluate with one of each kind, on 103 samples");
    set.add("block-save", &block_save_, "The checkpoint of this step cannot be written");
    set.add("nap", &nap_, "Seconds that on_finished() takes");
    set.add("masked", &masked_, "So many samples, the first, count for nothing");
    set.add("export", &export_,
            "Directory for the weights at the end, by the rank that saves them");
    set.add("poison", &poison_, "A sample whose numbers are too large; -1: none");
    set.add("validate", &validate_, "Have validation data");
    set.add("events", &events_, "File for what rank 0 is told");
  }

  std::shared_ptr<torch::nn::Module> build_model() override {
    net_ = std::make_shared<Net>();
    return net_;
  }
  /// Ten steps an epoch.
  std::shared_ptr<const muster::Dataset> train_dataset() override {
    const char* samples = std::getenv("MUSTER_TEST_SAMPLES");
    return make_data(samples == nullptr ? 160 : std::atoll(samples));
  }
  std::shared_ptr<const muster::Dataset> test_dataset() override { return make_data(7); }
  std::shared_ptr<const muster::Dataset> validation_dataset() override {
    return validate_ ? make_data(all_metrics_ ? 103 : 5) : nullptr;
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    const torch::Tensor y = net_->forward(batch["x"]);
    if (masked_ == 0) return torch::mse_loss(y, batch["y"]);
    const torch::Tensor counts = (batch["id"] >= masked_).to(torch::kFloat);
    const double weight = counts.sum().item<double>();
    return {((y - batch["y"]).square() * counts).sum() / weight, weight};
  }

  void evaluate_batch(const muster::Batch& batch, muster::MetricSums& sums) override {
    const auto samples = static_cast<double>(batch.size());
    sums.add("distance", static_cast<double>(std::abs(step() - best_at_)) * samples, samples);
    sums.add("bias", net_->layer(2)->bias.item<double>() * samples, samples);
    if (all_metrics_) add_all_metrics(batch["id"].flatten(), sums);
  }

  void on_step_end(const muster::StepReport& report) override {
    const muster::RankEnv env = muster::RankEnv::from_environment();
    if (die_at() == std::to_string(report.step) && env.generation == 0 &&
        env.rank == env.world_size - 1)
      raise(SIGKILL);
    if (report.step + 1 == block_save_) {
      std::filesystem::create_directories(
          options.run_directory() / muster::checkpoint::attempt_directory_name(block_save_, 0) /
          "manifest.json");
    }
    ++seen_;
    if (report.step % 5 == 0) tell("step " + std::to_string(report.step));
  }
  void on_epoch_end(int64_t epochs) override { tell("epoch " + std::to_string(epochs)); }
  void on_evaluation(const muster::EvaluationReport& report) override {
    tell("evaluation " + std::to_string(report.step) + (report.best ? " best" : "") + " of " +
         std::to_string(static_cast<int64_t>(report.metrics["distance"].count)));
  }
  void on_checkpoint(int64_t step, const std::filesystem::path& path) override {
    tell("checkpoint " + std::to_string(step) + " " + path.filename().string());
  }
  void on_finished() override {
    if (die_at() == "end") raise(SIGKILL);
    if (nap_ > 0) sleep(static_cast<unsigned>(nap_));
    if (!export_.empty()) {
      const int rank = muster::RankEnv::from_environment().rank;
      muster::save_module(*net_, export_ + "/rank-" + std::to_string(rank) + ".safetensors");
    }
    tell("bias " + std::to_string(net_->layer(2)->bias.item<double>()));
    tell("saw " + std::to_string(seen_) + " steps");
  }
  std::string save_state() const override { return "seen=" + std::to_string(seen_); }
  void load_state(const std::string& state) override { seen_ = std::stoll(state.substr(5)); }

 private:
  /// Of made-up scores for each sample.
  static void add_all_metrics(const torch::Tensor& id, muster::MetricSums& sums) {
    const torch::Tensor scores =
        torch::sin(id.to(torch::kFloat).unsqueeze(1) * torch::tensor({1.0f, 2.0f, 3.0f}));
    const torch::Tensor labels = id.remainder(3);
    sums.add_accuracy("accuracy", scores, labels);
    sums.add_top_k("top_2", scores, labels, 2);
    sums.add_confusion("confusion", scores, labels);
    // Of which many are equal.
    sums.add_auroc("auroc", scores.select(1, 0).mul(4).round(), labels);
    sums.add_perplexity("perplexity", 1.5, static_cast<double>(id.numel()));
  }

  static std::string die_at() {
    const char* step = std::getenv("MUSTER_TEST_DIE_AT");
    return step == nullptr ? "" : step;
  }

  std::shared_ptr<const muster::Dataset> make_data(int64_t samples) const {
    torch::Tensor x = torch::arange(3 * samples, torch::kFloat).reshape({samples, 3}) / 480;
    if (poison_ >= 0 && poison_ < samples) x[poison_].fill_(3.4e38);
    return std::make_shared<muster::TensorDataset>(std::vector<muster::TensorDataset::Column>{
        {"x", x},
        {"y", torch::arange(samples, torch::kFloat).reshape({samples, 1}) / 160 + 1},
        {"id", torch::arange(samples).reshape({samples, 1})}});
  }

  void tell(const std::string& line) const {
    if (muster::RankEnv::from_environment().rank == 0 && !events_.empty())
      std::ofstream(events_, std::ios::app) << line << "\n";
  }

  std::shared_ptr<Net> net_;
  int64_t best_at_ = 0;
  int64_t poison_ = -1;
  int64_t block_save_ = 0;
  int64_t masked_ = 0;
  int64_t nap_ = 0;
  std::string export_;
  int64_t seen_ = 0;  // in this process or before
  bool validate_ = false;
  bool all_metrics_ = false;
  std::string events_;
};

int main(int argc, char** argv) { return muster::main<WatchedFit>(argc, argv); }
