// Fits a line: the smallest program that trains with an installed Muster.
#include "muster/trainer/main.h"

#include <torch/torch.h>

#include "muster/data_loader/tensor_dataset.h"

class LineFit : public muster::Trainer {
 public:
  std::shared_ptr<torch::nn::Module> build_model() override { return model_.ptr(); }

  std::shared_ptr<const muster::Dataset> train_dataset() override {
    const torch::Tensor x = torch::linspace(-1, 1, 256).unsqueeze(1);
    return std::make_shared<muster::TensorDataset>(
        std::vector<muster::TensorDataset::Column>{{"x", x}, {"y", 3 * x + 1}});
  }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    return torch::mse_loss(model_->forward(batch["x"]), batch["y"]);
  }

 private:
  torch::nn::Linear model_{1, 1};
};

int main(int argc, char** argv) { return muster::main<LineFit>(argc, argv); }
