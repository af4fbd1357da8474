// A fit whose score is prescribed, which writes down what it is told, and may die or be given
// numbers that are too large: for the tests of the loop. With MUSTER_TEST_DIE_AT the last rank of
// the first generation dies after that step.
#include <signal.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>

#include "muster/base/rank_env.h"
#include "muster/data_loader/tensor_dataset.h"
#include "muster/trainer/main.h"

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
    set.add("poison", &poison_, "A sample whose numbers are too large; -1: none");
    set.add("validate", &validate_, "Have validation data");
    set.add("events", &events_, "File for what rank 0 is told");
  }

  std::shared_ptr<torch::nn::Module> build_model() override {
    net_ = std::make_shared<Net>();
    return net_;
  }
  /// Ten steps an epoch.
  std::shared_ptr<const muster::Dataset> train_dataset() override { return make_data(160); }
  std::shared_ptr<const muster::Dataset> test_dataset() override { return make_data(7); }
  std::shared_ptr<const muster::Dataset> validation_dataset() override {
    return validate_ ? make_data(5) : nullptr;
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    return torch::mse_loss(net_->forward(batch["x"]), batch["y"]);
  }

  void evaluate_batch(const muster::Batch& batch, muster::MetricSums& sums) override {
    const auto samples = static_cast<double>(batch.size());
    sums.add("distance", static_cast<double>(std::abs(step() - best_at_)) * samples, samples);
    sums.add("bias", net_->layer(2)->bias.item<double>() * samples, samples);
  }

  void on_step_end(const muster::StepReport& report) override {
    const muster::RankEnv env = muster::RankEnv::from_environment();
    const char* die_at = std::getenv("MUSTER_TEST_DIE_AT");  // no option: no part of the job
    if (die_at != nullptr && report.step == std::atoll(die_at) && env.generation == 0 &&
        env.rank == env.world_size - 1)
      raise(SIGKILL);
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
    tell("bias " + std::to_string(net_->layer(2)->bias.item<double>()));
    tell("saw " + std::to_string(seen_) + " steps");
  }
  std::string save_state() const override { return "seen=" + std::to_string(seen_); }
  void load_state(const std::string& state) override { seen_ = std::stoll(state.substr(5)); }

 private:
  std::shared_ptr<const muster::Dataset> make_data(int64_t samples) const {
    torch::Tensor x = torch::arange(3 * samples, torch::kFloat).reshape({samples, 3}) / 480;
    if (poison_ >= 0 && poison_ < samples) x[poison_].fill_(3.4e38);
    return std::make_shared<muster::TensorDataset>(std::vector<muster::TensorDataset::Column>{
        {"x", x}, {"y", torch::arange(samples, torch::kFloat).reshape({samples, 1}) / 160 + 1}});
  }

  void tell(const std::string& line) const {
    if (muster::RankEnv::from_environment().rank == 0 && !events_.empty())
      std::ofstream(events_, std::ios::app) << line << "\n";
  }

  std::shared_ptr<Net> net_;
  int64_t best_at_ = 0;
  int64_t poison_ = -1;
  int64_t seen_ = 0;  // in this process or before
  bool validate_ = false;
  std::string events_;
};

int main(int argc, char** argv) { return muster::main<WatchedFit>(argc, argv); }
