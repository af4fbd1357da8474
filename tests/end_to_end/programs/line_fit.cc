// Fits a line: the smallest Trainer, with switches to misbehave, for the tests of bad luck and bad
// input.
#include <signal.h>
#include <torch/torch.h>

#include <cstdlib>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <utility>

#include "muster/base/rank_env.h"
#include "muster/checkpoint/layout.h"
#include "muster/data_loader/tensor_dataset.h"
#include "muster/trainer/main.h"

class LineFit : public muster::Trainer {
 public:
  LineFit() {
    options.steps = 20;
    options.micro_batch = 4;
  }

  void add_options(muster::OptionSet& set) override {
    set.add("throw-at-step", &throw_at_step_, "compute_loss() throws at this step");
    set.add("throw-on-rank", &throw_on_rank_, "and on this rank");
    set.add("abort", &abort_, "abort() instead of throwing");
    set.add("block-save", &block_save_, "at this step: something is in the way of --block-file");
    set.add("block-times", &block_times_, "and of the saves of as many steps");
    set.add("block-file", &block_file_, "a file of the checkpoint, which cannot be created");
    set.add("signal", &signal_, "raise this signal, once, instead of throwing");
  }

  std::shared_ptr<torch::nn::Module> build_model() override {
    model_ = torch::nn::Linear(3, 1);
    return model_.ptr();
  }

  std::shared_ptr<const muster::Dataset> train_dataset() override {
    const torch::Tensor x = torch::arange(3000, torch::kFloat).reshape({1000, 3}) / 3000;
    return std::make_shared<muster::TensorDataset>(
        std::vector<muster::TensorDataset::Column>{{"x", x}, {"y", x.sum(1, true) + 1}});
  }

  void on_step_end(const muster::StepReport& report) override {
    if (report.step + 1 < block_save_ || report.step + 1 >= block_save_ + block_times_) return;
    const std::filesystem::path attempt =
        muster::checkpoint::attempt_directory_name(report.step + 1, /*generation=*/0);
    std::filesystem::create_directories(options.run_directory() / attempt / block_file_);
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    if (step() + 1 == throw_at_step_ &&
        muster::RankEnv::from_environment().rank == throw_on_rank_) {
      if (abort_) std::abort();
      if (signal_ >= 0) {
        raise(static_cast<int>(std::exchange(signal_, 0)));  // signal 0 does nothing
        return fit(batch);
      }
      throw std::runtime_error("the line is bent");
    }
    return fit(batch);
  }

 private:
  muster::Loss fit(const muster::Batch& batch) {
    return torch::mse_loss(model_->forward(batch["x"]), batch["y"]);
  }

  torch::nn::Linear model_{nullptr};
  int64_t throw_at_step_ = 0;
  int64_t throw_on_rank_ = 0;
  bool abort_ = false;
  int64_t block_save_ = 0;
  int64_t block_times_ = 1;
  std::string block_file_;
  int64_t signal_ = -1;
};

int main(int argc, char** argv) { return muster::main<LineFit>(argc, argv); }
