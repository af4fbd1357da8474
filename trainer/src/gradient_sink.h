// Our own end of the autograd graph: in place of AccumulateGrad, gradients go straight where we
// want them.
#ifndef MUSTER_TRAINER_SRC_GRADIENT_SINK_H_
#define MUSTER_TRAINER_SRC_GRADIENT_SINK_H_

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>
#include <vector>

namespace muster::internal {

/// Receives gradients during a backward pass, on the thread that runs it.
class GradientReceiver {
 public:
  virtual ~GradientReceiver() = default;
  /// The whole gradient of parameter `index` from this backward pass (autograd sums all uses
  /// first). Dense, the parameter's shape.
  virtual void receive(std::size_t index, const at::Tensor& gradient) = 0;
};

/// Replaces the gradient accumulators of a module's parameters for as long as it lives. A graph may
/// live longer: its backward pass is a UserError then.
class GradientSinks {
 public:
  /// Each parameter is a leaf that requires grad. `receiver` must outlive this.
  GradientSinks(const std::vector<at::Tensor>& parameters, GradientReceiver& receiver);
  ~GradientSinks();
  GradientSinks(const GradientSinks&) = delete;
  GradientSinks& operator=(const GradientSinks&) = delete;

 private:
  class Sink;
  std::vector<std::shared_ptr<Sink>> sinks_;  // the tensors hold them weakly
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_GRADIENT_SINK_H_
