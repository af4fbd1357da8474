// Operations over all ranks, whatever carries them.
#ifndef MUSTER_COLLECTIVES_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_COMMUNICATOR_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "muster/collectives/reduction_tree.h"
#include "muster/collectives/work.h"

namespace muster {

/// How elements combine, in rank order. A NaN stays a NaN in all three.
enum class ReduceOp { kSum, kMin, kMax };

/// All ranks of a world. Operations are collective: every rank makes the same calls in the same
/// order, from one thread. They return at once, run in issue order, and their results are valid
/// after Work::wait(). Until then their tensors belong to the operation. Several may be in flight.
///
/// Tensors are contiguous and in CPU memory. Reductions take float32, float64, bfloat16 (summed in
/// float32 and rounded once) and int64; all_gather and broadcast take any dtype. A call that breaks
/// these rules throws ConfigError naming the operation, before anything is communicated. A tensor
/// may be empty.
///
/// After a PeerLost, Timeout or Mismatch the communicator stays failed: every later operation's
/// wait() throws the same error. The destructor abandons operations nobody waited for; other ranks
/// see a peer that left.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  /// Collective. Combines `tensor` over all ranks, in place; equal bits on every rank.
  virtual Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::kSum) = 0;

  /// Collective. `output` becomes this rank's slice of the combined `input`: elements [rank * n,
  /// (rank + 1) * n), where n = output.numel() and input.numel() = world_size * n. `output` may be
  /// that very slice of `input`, else they must not overlap. `input` is otherwise unchanged.
  virtual Work reduce_scatter(at::Tensor output, at::Tensor input,
                              ReduceOp op = ReduceOp::kSum) = 0;

  /// Collective. Elements [r * n, (r + 1) * n) of `output` become rank r's `input`, where n =
  /// input.numel() and output.numel() = world_size * n. Any dtype. `input` may be this rank's own
  /// slice of `output`, else they must not overlap.
  virtual Work all_gather(at::Tensor output, at::Tensor input) = 0;

  /// Collective. `tensor` becomes `root`'s. Any dtype.
  virtual Work broadcast(at::Tensor tensor, int root) = 0;

  /// Collective. Ends once every rank has begun it and all earlier operations have ended.
  virtual Work barrier() = 0;

  /// Collective. partials[i] is the sum over the i-th of this rank's maximal subtrees, that is of
  /// tree.maximal_subtrees(assign_logical_ranks(tree.logical_ranks(), world_size())[rank()]).
  /// Afterwards partials[0] holds, on every rank, the sum over all logical ranks in tree order: the
  /// same bits at every world size (but the payload of a NaN may differ at world size 1, where the
  /// call has nothing to do). The other partials are unchanged. float32, float64, int64; all
  /// partials of one dtype and numel. Other dtypes throw ConfigError: a partial rounded to them
  /// would depend on the world size.
  virtual Work canonical_all_reduce(std::vector<at::Tensor> partials,
                                    const ReductionTree& tree) = 0;

  /// Collective: all ranks allocate the same sizes in the same order (no communication, returns at
  /// once). A zeroed 1-D tensor in memory that every rank of the node maps, where the transport has
  /// such; in ordinary memory otherwise. Operations on contiguous slices of such tensors need no
  /// staging copy. Its memory is given back when both the communicator and the tensors are gone.
  virtual at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) = 0;

 protected:
  Communicator(int rank, int world_size) : rank_(rank), world_size_(world_size) {}

 private:
  int rank_;
  int world_size_;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_COMMUNICATOR_H_
