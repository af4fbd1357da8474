// An engine's state in host memory, where files are read and written.
#ifndef MUSTER_TRAINER_SRC_HOST_STATE_H_
#define MUSTER_TRAINER_SRC_HOST_STATE_H_

#include <vector>

#include "muster/trainer/engine.h"

namespace muster::internal {

/// What lies in host memory is shown as it is; what lies on a GPU as a copy.
class HostState {
 public:
  enum class Contents {
    kValues,  ///< Copies are made now.
    kNone     ///< To be written into; then call give_back().
  };
  HostState(std::vector<StateTensor> state, Contents contents);

  const std::vector<StateTensor>& tensors() const { return tensors_; }
  /// Copies become what is on the GPU.
  void give_back() const;

 private:
  struct Copy {
    at::Tensor original;
    at::Tensor on_host;
  };
  std::vector<StateTensor> tensors_;
  std::vector<Copy> copies_;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_HOST_STATE_H_
