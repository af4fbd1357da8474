// Operations over all ranks, whatever carries them.
#ifndef MUSTER_COLLECTIVES_COMMUNICATOR_H_
#define MUSTER_COLLECTIVES_COMMUNICATOR_H_

#include <ATen/core/Tensor.h>

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "muster/collectives/reduction_tree.h"
#include "muster/collectives/window.h"
#include "muster/collectives/work.h"

namespace muster {

/// How elements combine, in the order of ReductionTree over the ranks, whatever carries them.
/// kSum, kProduct: integers wrap around. kAvg: the sum divided by the number of ranks;
/// floating-point dtypes only. kMin, kMax: a NaN stays a NaN. kBitAnd, kBitOr: integer dtypes and
/// bool. In bool kSum and kMax mean "or", kProduct and kMin mean "and". float16 and bfloat16 are
/// combined in float32 and rounded once.
enum class ReduceOp { kSum, kAvg, kMin, kMax, kProduct, kBitAnd, kBitOr };

namespace internal {

/// What a communicator came from.
struct CommunicatorOrigin {
  int generation = 0;
  std::vector<int> previous_ranks = {};
};

}  // namespace internal

/// Ranks that communicate: those of a world, or of a part of it (split()). Operations are
/// collective: every rank makes the same calls in the same order, from one thread; only send() and
/// recv() concern two ranks. Operations return at once, run in issue order, and their results are
/// valid after Work::wait(). Until then their tensors belong to the operation. Several may be in
/// flight, also on several communicators.
///
/// Tensors are contiguous, on the communicator's device (the CPU; a GPU for those of
/// cuda_communicator.h) and may be empty. Reductions take float32, float64,
/// float16, bfloat16, int8, int16, int32, int64, uint8 and bool; operations that only move data
/// take any dtype. A call that breaks these rules throws ConfigError naming the operation, before
/// anything is communicated: nothing is copied or converted behind the caller's back.
///
/// After a PeerLost, Timeout or Mismatch the communicator stays failed: every later operation's
/// wait() throws the same error; shrink() makes one of the ranks that are left. The destructor
/// abandons operations nobody waited for; other ranks see a peer that left.
class Communicator {
 public:
  virtual ~Communicator() = default;
  Communicator(const Communicator&) = delete;
  Communicator& operator=(const Communicator&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  /// Which life of the ranks this communicator belongs to: that of the launcher for the world's, 0
  /// for the parts that split() makes; shrink() and replace() count on.
  int generation() const { return origin_.generation; }

  /// Of one that shrink() or replace() made. Element r: which rank of the communicator before is
  /// rank r here; -1: a process that came in its place. Empty for others.
  const std::vector<int>& previous_ranks() const { return origin_.previous_ranks; }

  /// Collective. `output` becomes the combination of all ranks' `input`, with equal bits on every
  /// rank. Both have the same numel; they are one tensor, or do not overlap.
  virtual Work all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) = 0;
  /// Collective. The same in place.
  Work all_reduce(at::Tensor tensor, ReduceOp op = ReduceOp::kSum) {
    return all_reduce(tensor, tensor, op);
  }

  /// Collective. Like all_reduce(), for `root` alone; the others' `output` is not looked at and may
  /// be undefined.
  virtual Work reduce(at::Tensor output, at::Tensor input, int root,
                      ReduceOp op = ReduceOp::kSum) = 0;

  /// Collective. `output` becomes this rank's slice of the combined `input`: elements [rank * n,
  /// (rank + 1) * n), where n = output.numel() and input.numel() = world_size * n. `output` may be
  /// that very slice of `input`, else they must not overlap. `input` is otherwise unchanged.
  virtual Work reduce_scatter(at::Tensor output, at::Tensor input,
                              ReduceOp op = ReduceOp::kSum) = 0;

  /// Collective. Elements [r * n, (r + 1) * n) of `output` become rank r's `input`, where n =
  /// input.numel() and output.numel() = world_size * n. `input` may be this rank's own slice of
  /// `output`, else they must not overlap.
  virtual Work all_gather(at::Tensor output, at::Tensor input) = 0;
  /// Collective. The same where rank r contributes counts[r] elements: `counts` is equal on all
  /// ranks, input.numel() = counts[rank], output.numel() their sum.
  virtual Work all_gather(at::Tensor output, at::Tensor input,
                          const std::vector<std::int64_t>& counts) = 0;

  /// Collective. `tensor` becomes `root`'s.
  virtual Work broadcast(at::Tensor tensor, int root) = 0;

  /// Collective. `output` becomes elements [rank * n, (rank + 1) * n) of `root`'s `input`, where n
  /// = output.numel() on every rank. `input` is looked at on `root` alone, where `output` may be
  /// this rank's own slice of it.
  virtual Work scatter(at::Tensor output, at::Tensor input, int root) = 0;

  /// Collective. On `root` elements [r * n, (r + 1) * n) of `output` become rank r's `input`, where
  /// n = input.numel() on every rank. `output` is looked at on `root` alone, where `input` may be
  /// this rank's own slice of it.
  virtual Work gather(at::Tensor output, at::Tensor input, int root) = 0;

  /// Collective. Slice r of `output` becomes slice `rank` of rank r's `input`; both are cut into
  /// world_size equal slices, and do not overlap.
  virtual Work all_to_all(at::Tensor output, at::Tensor input) = 0;
  /// Collective. The same with slices of input_counts[r] elements for rank r, and output_counts[r]
  /// from it. Where one rank gives another count than the other expects, both get Mismatch; a rank
  /// that gives itself another than it expects of itself gets ConfigError.
  virtual Work all_to_all(at::Tensor output, const std::vector<std::int64_t>& output_counts,
                          at::Tensor input, const std::vector<std::int64_t>& input_counts) = 0;

  /// Sends `tensor` to `peer`, another rank, which must recv() one of this dtype and numel: else
  /// both get Mismatch. Ends once `peer` has taken it. Transfers from one rank to another arrive in
  /// the order of their issue; those to and from different peers, and in both directions, may be in
  /// flight together: issue both sends and receives before waiting for any. A collective behind
  /// them begins when all of them have ended: where `peer` has gone on to one without its side of
  /// the transfer, shared memory tells both Mismatch at once, and the others in the collective too.
  virtual Work send(at::Tensor tensor, int peer) = 0;
  /// The other side: `tensor` becomes `peer`'s.
  virtual Work recv(at::Tensor tensor, int peer) = 0;

  /// Collective. Ends once every rank has begun it and all earlier operations have ended.
  virtual Work barrier() = 0;

  /// Collective. partials[i] is the sum over the i-th of this rank's maximal subtrees, that is of
  /// tree.maximal_subtrees(assign_logical_ranks(tree.logical_ranks(), world_size())[rank()]).
  /// Afterwards partials[0] holds, on every rank, the sum over all logical ranks in tree order: the
  /// same bits at every world size (but the payload of a NaN may differ at world size 1, where the
  /// call has nothing to do). The other partials do not overlap it and are unchanged. float32,
  /// float64, int64; all partials of one dtype and numel. Other dtypes throw ConfigError: a partial
  /// rounded to them would depend on the world size, so low-precision gradients are accumulated in
  /// float32.
  virtual Work canonical_all_reduce(std::vector<at::Tensor> partials,
                                    const ReductionTree& tree) = 0;

  /// Collective. The same sum, of which each rank gets a slice: elements [rank * n, (rank + 1) * n)
  /// in `output`, where n = output.numel() and every partial has world_size * n. `output` may be
  /// that slice of partials[0], else it overlaps none. The partials are otherwise unchanged.
  virtual Work canonical_reduce_scatter(at::Tensor output, std::vector<at::Tensor> partials,
                                        const ReductionTree& tree) = 0;

  /// The ranks that reach this one's memory, itself among them, in ascending order: those of its
  /// node, where the transport knows nodes.
  virtual std::vector<int> ranks_sharing_memory() const = 0;

  /// Collective: all ranks allocate the same sizes in the same order (no communication, returns at
  /// once). A zeroed 1-D tensor in memory that every rank of the node maps, where the transport has
  /// such; in ordinary memory otherwise. Operations on contiguous slices of such tensors need no
  /// staging copy. Its memory is given back when both the communicator and the tensors are gone.
  virtual at::Tensor allocate_symmetric(std::int64_t numel, at::ScalarType dtype) = 0;

  /// Collective, in the same manner. One zeroed 1-D tensor for all ranks: what a rank has written
  /// the others read once all have passed a barrier(). An undefined tensor where the ranks do not
  /// share memory.
  virtual at::Tensor allocate_shared(std::int64_t numel, at::ScalarType dtype) = 0;

  /// Collective. Blocks. A window onto `numel` elements of every rank. In memory that the node's
  /// ranks map where the transport has such; ranks elsewhere are asked for theirs by MPI messages,
  /// which a thread of each answers. Throws what wait() throws; ConfigError on a GPU.
  virtual std::unique_ptr<Window> open_window(std::int64_t numel, at::ScalarType dtype) = 0;

  /// Collective. Blocks. Ranks that give the same `color` form a communicator of their own, ordered
  /// by (`key`, rank here); those with a negative color get nullptr. It lives on its own: neither
  /// its failure nor its end touches this one, but this one must outlive it. Throws what wait()
  /// throws.
  virtual std::unique_ptr<Communicator> split(int color, int key) = 0;

  /// Collective over the ranks that are left, after any error or before one. Blocks. Makes the
  /// communicator of the next generation: those that call this within `deadline` of each other, in
  /// their old order, numbered from 0. All of them get the same members.
  ///
  /// This communicator is ended first, as abort() does it, so that the others notice at their next
  /// operation; it may be destroyed afterwards. A rank that died or left is not waited for. A
  /// silent one is, until the first of those that wait has done so for `deadline`; then it is out
  /// for good, and when it wakes its operations and its own shrink() throw PeerLost. So `deadline`
  /// is longer than a healthy rank may stay away from its next operation. When another rank is lost
  /// before all have met in the new communicator, there is another round; each takes at most
  /// `deadline` twice.
  ///
  /// Tensors of allocate_symmetric() stay readable, but operations of the new communicator need no
  /// copy of those alone that it allocated itself. What a failed operation was to write is
  /// undefined, and a silent rank that wakes may still write it. Parts made by split() go on, or
  /// are shrunk, by themselves.
  ///
  /// Throws PeerLost when the others went on without this rank, or the launcher ended the
  /// generation; ConfigError where the transport cannot do it: MPI without ULFM (Open MPI 5 has it
  /// under mpirun --with-ft ulfm).
  ///
  /// Over MPI a silent rank cannot be left behind: Timeout naming it, after which all may call this
  /// again, as when it was killed. If it stopped while all agreed on who is left: PeerLost then.
  virtual std::unique_ptr<Communicator> shrink(std::chrono::milliseconds deadline) = 0;

  /// Collective over the ranks that are left. Blocks. Like shrink(), but the places of the others
  /// are taken by processes that were started anew with RankEnv::replaces_lost_rank and the rank's
  /// number: world size and ranks stay, and World::create() of a new process returns with its
  /// communicator. A silent rank is replaced once `deadline` has passed, if a process has come in
  /// its place by then. For the world's communicator and what this call made of it, over shared
  /// memory: ConfigError for others.
  ///
  /// Throws as shrink() does, and Timeout naming the ranks in whose place nobody came; then
  /// replace() and shrink() may be called again, by all.
  virtual std::unique_ptr<Communicator> replace(std::chrono::milliseconds deadline) = 0;

  /// Ends every operation in flight on this rank, and all later ones, with PeerLost naming
  /// `reason`; the other ranks get PeerLost as soon as they need this one. Any thread.
  virtual void abort(const std::string& reason) = 0;

 protected:
  Communicator(int rank, int world_size, internal::CommunicatorOrigin origin = {})
      : rank_(rank), world_size_(world_size), origin_(std::move(origin)) {}

 private:
  int rank_;
  int world_size_;
  internal::CommunicatorOrigin origin_;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_COMMUNICATOR_H_
