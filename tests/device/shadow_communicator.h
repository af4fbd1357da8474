// A communicator of GPUs in the guise of one for host tensors, so that it passes the same tests.
#ifndef MUSTER_TESTS_DEVICE_SHADOW_COMMUNICATOR_H_
#define MUSTER_TESTS_DEVICE_SHADOW_COMMUNICATOR_H_

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::testing {

/// Each operation is done on shadows of its tensors in GPU memory: copied there when it is issued,
/// and back once it has ended. Shadows overlap where the tensors do; those of symmetric tensors are
/// symmetric.
class ShadowCommunicator : public Communicator {
 public:
  /// `communicator` is that of GPU `device`.
  ShadowCommunicator(std::unique_ptr<Communicator> communicator, int device);

  using Communicator::all_reduce;
  Work all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) override;
  Work reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) override;
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override;
  Work all_gather(at::Tensor output, at::Tensor input) override;
  Work all_gather(at::Tensor output, at::Tensor input,
                  const std::vector<std::int64_t>& counts) override;
  Work broadcast(at::Tensor tensor, int root) override;
  Work scatter(at::Tensor output, at::Tensor input, int root) override;
  Work gather(at::Tensor output, at::Tensor input, int root) override;
  Work all_to_all(at::Tensor output, at::Tensor input) override;
  Work all_to_all(at::Tensor output, const std::vector<std::int64_t>& output_counts,
                  at::Tensor input, const std::vector<std::int64_t>& input_counts) override;
  Work send(at::Tensor tensor, int peer) override;
  Work recv(at::Tensor tensor, int peer) override;
  Work barrier() override { return communicator_->barrier(); }
  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override;
  Work canonical_reduce_scatter(at::Tensor output, std::vector<at::Tensor> partials,
                                const ReductionTree& tree) override;
  std::vector<int> ranks_sharing_memory() const override {
    return communicator_->ranks_sharing_memory();
  }
  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override;
  at::Tensor allocate_shared(std::int64_t, at::ScalarType) override { return {}; }
  std::unique_ptr<Window> open_window(std::int64_t numel, at::ScalarType dtype) override {
    return communicator_->open_window(numel, dtype);
  }
  std::unique_ptr<Communicator> split(int color, int key) override;
  std::unique_ptr<Communicator> shrink(std::chrono::milliseconds deadline) override;
  std::unique_ptr<Communicator> replace(std::chrono::milliseconds deadline) override;
  void abort(const std::string& reason) override { communicator_->abort(reason); }

 private:
  /// Shadows of one operation's tensors.
  class Shadows;
  /// By the address of a storage.
  using Symmetric = std::map<const void*, at::Tensor>;

  std::shared_ptr<Shadows> shadows() const;

  std::unique_ptr<Communicator> communicator_;
  const int device_;
  Symmetric symmetric_;
  std::vector<at::Tensor> kept_;  // so that no other tensor gets their addresses
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_DEVICE_SHADOW_COMMUNICATOR_H_
