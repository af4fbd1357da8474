// Classifies Fashion-MNIST: muster run -n 2 -- fashion_mnist --epochs 5
#include <torch/torch.h>

#include <filesystem>

#include "muster/data_loader/idx_file.h"
#include "muster/data_loader/tensor_dataset.h"
#include "muster/trainer/main.h"
#include "resnet.h"

namespace nn = torch::nn;

nn::Sequential small_cnn() {
  return nn::Sequential(
      nn::Conv2d(nn::Conv2dOptions(1, 16, 3).padding(1).bias(false)), nn::BatchNorm2d(16),
      nn::ReLU(), nn::MaxPool2d(2), nn::Conv2d(nn::Conv2dOptions(16, 32, 3).padding(1).bias(false)),
      nn::BatchNorm2d(32), nn::ReLU(), nn::MaxPool2d(2), nn::Flatten(), nn::Linear(32 * 7 * 7, 128),
      nn::ReLU(), nn::Dropout(0.25), nn::Linear(128, 10));
}

class FashionMnist : public muster::Trainer {
 public:
  FashionMnist() {
    options.epochs = 5;
    options.learning_rate = 2e-3;
    options.schedule = "cosine";
    options.weight_decay = 0.01;
  }

  void add_options(muster::OptionSet& set) override {
    set.add_choice("model", &model_name_, {"small", "resnet18"}, "Network");
    set.add("data", &data_,
            "Directory of the four .gz files (Debian package dataset-fashion-mnist)");
  }

  std::shared_ptr<nn::Module> build_model() override {
    model_ = model_name_ == "resnet18" ? resnet18(1, 10) : small_cnn();
    return model_.ptr();
  }

  std::shared_ptr<const muster::Dataset> train_dataset() override { return load("train"); }
  std::shared_ptr<const muster::Dataset> test_dataset() override { return load("t10k"); }

  muster::Loss compute_loss(const muster::Batch& batch) override {
    return nn::functional::cross_entropy(model_->forward(batch["image"]), batch["label"]);
  }

  void evaluate_batch(const muster::Batch& batch, muster::MetricSums& sums) override {
    const torch::Tensor scores = model_->forward(batch["image"]);
    sums.add_accuracy("accuracy", scores, batch["label"]);
    sums.add_confusion("confusion", scores, batch["label"]);
  }

 private:
  std::shared_ptr<const muster::Dataset> load(const std::string& part) const {
    const std::filesystem::path directory(data_);
    const torch::Tensor images = muster::read_idx(directory / (part + "-images-idx3-ubyte.gz"));
    const torch::Tensor labels = muster::read_idx(directory / (part + "-labels-idx1-ubyte.gz"));
    return std::make_shared<muster::TensorDataset>(std::vector<muster::TensorDataset::Column>{
        {"image", images.unsqueeze(1),
         muster::FloatConversion{{0.2860}, {0.3530}}},  // [n, 1, 28, 28]
        {"label", labels.to(torch::kLong)}});
  }

  nn::Sequential model_{nullptr};
  std::string model_name_ = "small";
  std::string data_ = "/usr/share/datasets/fashion-mnist";
};

int main(int argc, char** argv) { return muster::main<FashionMnist>(argc, argv); }
