// A communicator that has another one do its work, and tells what an engine asked of it, and when.
#ifndef MUSTER_TESTS_TRAINER_WATCHED_COMMUNICATOR_H_
#define MUSTER_TESTS_TRAINER_WATCHED_COMMUNICATOR_H_

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster {

class WatchedCommunicator : public Communicator {
 public:
  /// `communicator` must outlive this. Without `shared_memory` an engine takes the ranks for those
  /// of different nodes.
  WatchedCommunicator(Communicator& communicator, bool shared_memory)
      : Communicator(communicator.rank(), communicator.world_size(),
                     {communicator.generation(), communicator.previous_ranks()}),
        communicator_(communicator),
        shared_memory_(shared_memory) {}

  /// Hears of each sum of float32, that is of gradients, when it has been issued.
  std::function<void(const Work&)> on_reduction = [](const Work&) {};
  /// Hears of each all-gather of float32, that is of parameters.
  std::function<void()> on_gather = [] {};
  /// Hears of each read of a window: of which rank's elements, from which on, and how many.
  std::function<void(int from, std::int64_t begin, std::int64_t numel)> on_read =
      [](int, std::int64_t, std::int64_t) {};

  using Communicator::all_reduce;
  Work all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) override {
    return reduction(input, communicator_.all_reduce(output, input, op));
  }
  Work reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) override {
    return reduction(input, communicator_.reduce_scatter(output, input, op));
  }
  Work canonical_all_reduce(std::vector<at::Tensor> partials, const ReductionTree& tree) override {
    return reduction(partials.front(), communicator_.canonical_all_reduce(partials, tree));
  }
  Work canonical_reduce_scatter(at::Tensor output, std::vector<at::Tensor> partials,
                                const ReductionTree& tree) override {
    return reduction(partials.front(),
                     communicator_.canonical_reduce_scatter(output, partials, tree));
  }
  std::unique_ptr<Window> open_window(std::int64_t numel, at::ScalarType dtype) override {
    return std::make_unique<WatchedWindow>(*this, communicator_.open_window(numel, dtype));
  }
  std::vector<int> ranks_sharing_memory() const override {
    return shared_memory_ ? communicator_.ranks_sharing_memory() : std::vector<int>{};
  }

  Work reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) override {
    return communicator_.reduce(output, input, root, op);
  }
  Work all_gather(at::Tensor output, at::Tensor input) override {
    if (input.scalar_type() == at::kFloat) on_gather();
    return communicator_.all_gather(output, input);
  }
  Work all_gather(at::Tensor output, at::Tensor input,
                  const std::vector<std::int64_t>& counts) override {
    return communicator_.all_gather(output, input, counts);
  }
  Work broadcast(at::Tensor tensor, int root) override {
    return communicator_.broadcast(tensor, root);
  }
  Work scatter(at::Tensor output, at::Tensor input, int root) override {
    return communicator_.scatter(output, input, root);
  }
  Work gather(at::Tensor output, at::Tensor input, int root) override {
    return communicator_.gather(output, input, root);
  }
  Work all_to_all(at::Tensor output, at::Tensor input) override {
    return communicator_.all_to_all(output, input);
  }
  Work all_to_all(at::Tensor output, const std::vector<std::int64_t>& output_counts,
                  at::Tensor input, const std::vector<std::int64_t>& input_counts) override {
    return communicator_.all_to_all(output, output_counts, input, input_counts);
  }
  Work send(at::Tensor tensor, int peer) override { return communicator_.send(tensor, peer); }
  Work recv(at::Tensor tensor, int peer) override { return communicator_.recv(tensor, peer); }
  Work barrier() override { return communicator_.barrier(); }
  at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) override {
    return communicator_.allocate_symmetric(numel, dtype);
  }
  at::Tensor allocate_shared(std::int64_t numel, at::ScalarType dtype) override {
    return communicator_.allocate_shared(numel, dtype);
  }
  std::unique_ptr<Communicator> split(int color, int key) override {
    return communicator_.split(color, key);
  }
  std::unique_ptr<Communicator> shrink(std::chrono::milliseconds deadline) override {
    return communicator_.shrink(deadline);
  }
  std::unique_ptr<Communicator> replace(std::chrono::milliseconds deadline) override {
    return communicator_.replace(deadline);
  }
  void abort(const std::string& reason) override { communicator_.abort(reason); }

 private:
  class WatchedWindow : public Window {
   public:
    WatchedWindow(const WatchedCommunicator& watched, std::unique_ptr<Window> window)
        : watched_(watched), window_(std::move(window)) {}
    const at::Tensor& own() const override { return window_->own(); }
    Work read(int from, std::int64_t begin, at::Tensor to) override {
      watched_.on_read(from, begin, to.numel());
      return window_->read(from, begin, std::move(to));
    }

   private:
    const WatchedCommunicator& watched_;
    std::unique_ptr<Window> window_;
  };

  Work reduction(const at::Tensor& part, Work work) const {
    if (part.scalar_type() == at::kFloat) on_reduction(work);
    return work;
  }

  Communicator& communicator_;
  const bool shared_memory_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_TRAINER_WATCHED_COMMUNICATOR_H_
