// The autograd node behind GradientSinks.
#include "gradient_sink.h"

#include <torch/csrc/autograd/function.h>
#include <torch/csrc/autograd/variable.h>

#include <cstdint>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

class GradientSinks::Sink : public torch::autograd::Node {
 public:
  // AccumulateGrad's own sequence number: sinks run as soon as their gradient is ready.
  Sink(std::size_t index, at::Tensor parameter, GradientReceiver& receiver)
      : Node(/*sequence_nr=*/UINT64_MAX),
        index_(index),
        parameter_(std::move(parameter)),
        receiver_(&receiver) {
    add_input_metadata(parameter_);
  }

  torch::autograd::variable_list apply(torch::autograd::variable_list&& gradients) override {
    if (receiver_ == nullptr) {
      throw UserError(
          "backward: expected the Engine that the parameters of this graph had, found that it is "
          "gone; run the backward pass before, or the forward pass again");
    }
    const at::Tensor& gradient = gradients.at(0);
    if (gradient.defined()) {
      receiver_->receive(index_, gradient.is_sparse() ? gradient.to_dense() : gradient);
    }
    return {};
  }

  /// Nobody receives any more; new graphs end in an accumulator of LibTorch's again.
  void end() {
    receiver_ = nullptr;
    if (torch::autograd::impl::try_get_grad_accumulator(parameter_).get() == this)
      torch::autograd::impl::set_grad_accumulator(parameter_, std::weak_ptr<Node>());
  }

  // Hooks the user put on the parameter would be skipped without this.
  std::vector<std::unique_ptr<torch::autograd::FunctionPreHook>>& tensor_pre_hooks() noexcept
      override {
    return torch::autograd::impl::hooks(parameter_);
  }

 private:
  std::size_t index_;
  at::Tensor parameter_;
  GradientReceiver* receiver_;
};

GradientSinks::GradientSinks(const std::vector<at::Tensor>& parameters,
                             GradientReceiver& receiver) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    // A graph that already ends in an AccumulateGrad of this parameter keeps it; new graphs end in
    // the sink.
    sinks_.push_back(std::make_shared<Sink>(i, parameters[i], receiver));
    torch::autograd::impl::set_grad_accumulator(parameters[i], sinks_.back());
  }
}

GradientSinks::~GradientSinks() {
  for (const auto& sink : sinks_) sink->end();
}

}  // namespace muster::internal
