// ResNet-18 for small images (He et al. 2016, with the 3x3 stem that is usual at 32 pixels and
// below).
#ifndef MUSTER_EXAMPLES_RESNET_H_
#define MUSTER_EXAMPLES_RESNET_H_

#include <torch/torch.h>

inline torch::nn::Conv2d conv3x3(int64_t in, int64_t out, int64_t stride = 1) {
  return torch::nn::Conv2d(
      torch::nn::Conv2dOptions(in, out, 3).stride(stride).padding(1).bias(false));
}

struct BasicBlockImpl : torch::nn::Module {
  BasicBlockImpl(int64_t in, int64_t out, int64_t stride)
      : conv1(conv3x3(in, out, stride)), norm1(out), conv2(conv3x3(out, out)), norm2(out) {
    register_module("conv1", conv1);
    register_module("norm1", norm1);
    register_module("conv2", conv2);
    register_module("norm2", norm2);
    if (stride != 1 || in != out) {
      shortcut = register_module(
          "shortcut",
          torch::nn::Sequential(
              torch::nn::Conv2d(torch::nn::Conv2dOptions(in, out, 1).stride(stride).bias(false)),
              torch::nn::BatchNorm2d(out)));
    }
  }

  torch::Tensor forward(torch::Tensor x) {  // [n, in, h, w] -> [n, out, h / stride, w / stride]
    torch::Tensor y = norm2(conv2(torch::relu(norm1(conv1(x)))));
    return torch::relu(y + (shortcut.is_empty() ? x : shortcut->forward(x)));
  }

  torch::nn::Conv2d conv1;
  torch::nn::BatchNorm2d norm1;
  torch::nn::Conv2d conv2;
  torch::nn::BatchNorm2d norm2;
  torch::nn::Sequential shortcut{nullptr};  // where the shape stays the input itself is added
};
TORCH_MODULE(BasicBlock);

/// `width` is the number of filters of the stem; the published network has 64.
inline torch::nn::Sequential resnet18(int64_t channels, int64_t classes, int64_t width = 64) {
  torch::nn::Sequential model(conv3x3(channels, width), torch::nn::BatchNorm2d(width),
                              torch::nn::ReLU());
  int64_t in = width;
  for (const int64_t out : {width, 2 * width, 4 * width, 8 * width}) {
    model->push_back(BasicBlock(in, out, out == width ? 1 : 2));
    model->push_back(BasicBlock(out, out, 1));
    in = out;
  }
  model->push_back(torch::nn::AdaptiveAvgPool2d(1));
  model->push_back(torch::nn::Flatten());
  model->push_back(torch::nn::Linear(in, classes));
  return model;
}

#endif  // MUSTER_EXAMPLES_RESNET_H_
