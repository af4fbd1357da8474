// All-to-all of slices, reduction by the owner, all-gather.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_transport.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <cstring>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

// How much of other ranks' parts is held at a time.
constexpr std::int64_t kScratchBytes = 32 * 1024 * 1024;

// Elements to handle at once, so that one range of each source fits into the scratch memory.
std::int64_t range_numel(const Operation& op) {
  const std::int64_t numel = kScratchBytes / op.plan.sources / op.signature.element_bytes;
  return std::max<std::int64_t>(64, numel / 64 * 64);
}

}  // namespace

MpiTransport::MpiTransport(MPI_Comm comm) {
  if (MPI_Comm_dup(comm, &comm_) != MPI_SUCCESS) {
    throw PeerLost("MPI: a rank was lost while the ranks were joining; start the job again");
  }
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
  MPI_Comm_rank(comm_, &rank_);
  MPI_Comm_size(comm_, &world_size_);
  signatures_.resize(static_cast<std::size_t>(world_size_));
}

std::shared_ptr<std::byte> MpiTransport::allocate_symmetric(std::int64_t bytes) {
  return allocate_zeroed(bytes);
}

// Ranks that wait for this one, and not for the one that is lost, would wait for ever.
void MpiTransport::give_up() noexcept {
#if defined(MPIX_ERR_REVOKED)
  MPIX_Comm_revoke(comm_);
#endif
}

void MpiTransport::run(const OperationRun& run) {
  exchange_signatures(run);
  const Operation& op = run.operation();
  if (op.signature.numel == 0) return;
  switch (op.signature.kind) {
    case OperationKind::kAllReduce:
    case OperationKind::kCanonicalAllReduce:
      return reduce_for_all(run);
    case OperationKind::kReduceScatter:
      return reduce_for_self(run);
    case OperationKind::kAllGather:
      return all_gather(run);
    case OperationKind::kBroadcast:
      return broadcast(run);
    case OperationKind::kBarrier:
    case OperationKind::kLeave:
      return;
  }
}

void MpiTransport::exchange_signatures(const OperationRun& run) {
  signatures_[static_cast<std::size_t>(rank_)] = run.operation().signature;
  MpiTransfers transfers(comm_, run);
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    Signature& theirs = signatures_[static_cast<std::size_t>(r)];
    transfers.receive(r, reinterpret_cast<std::byte*>(&theirs), sizeof(Signature));
    transfers.send(
        r, reinterpret_cast<const std::byte*>(&signatures_[static_cast<std::size_t>(rank_)]),
        sizeof(Signature));
  }
  transfers.finish();
  for (int r = 0; r < world_size_; ++r) {
    check_same_operation(run, run.operation().signature, rank_,
                         signatures_[static_cast<std::size_t>(r)], r);
  }
}

std::vector<const std::byte*> MpiTransport::receive_sources(const Operation& op,
                                                            std::int64_t own_offset_bytes,
                                                            std::int64_t bytes,
                                                            MpiTransfers& transfers) {
  scratch_.resize(std::max(scratch_.size(), static_cast<std::size_t>(bytes * op.plan.sources)));
  std::byte* free = scratch_.data();
  return plan_sources(op, rank_, [&](int r, int j) -> const std::byte* {
    if (r == rank_) return op.parts[static_cast<std::size_t>(j)] + own_offset_bytes;
    std::byte* const slot = free;
    free += bytes;
    transfers.receive(r, slot, bytes);
    return slot;
  });
}

void MpiTransport::reduce_for_all(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t element_bytes = op.signature.element_bytes;
  const std::int64_t step = range_numel(op) * world_size_;
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t numel = std::min(step, op.signature.numel - begin);
    const auto offset_of = [&](int r) {
      return (begin + owned_slice(numel, r, world_size_).begin) * element_bytes;
    };
    const auto bytes_of = [&](int r) {
      return owned_slice(numel, r, world_size_).numel() * element_bytes;
    };
    std::byte* const own = op.output + offset_of(rank_);
    MpiTransfers scatter(comm_, run);
    const auto sources = receive_sources(op, offset_of(rank_), bytes_of(rank_), scatter);
    for (int r = 0; r < world_size_; ++r) {
      if (r == rank_) continue;
      for (const std::byte* part : op.parts) scatter.send(r, part + offset_of(r), bytes_of(r));
    }
    scatter.finish();
    reduce(op.plan, sources, {&own, 1}, bytes_of(rank_) / element_bytes);
    MpiTransfers gather(comm_, run);
    for (int r = 0; r < world_size_; ++r) {
      if (r == rank_) continue;
      gather.receive(r, op.output + offset_of(r), bytes_of(r));
      gather.send(r, own, bytes_of(rank_));
    }
    gather.finish();
  }
}

void MpiTransport::reduce_for_self(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t element_bytes = op.signature.element_bytes;
  const std::int64_t step = range_numel(op);
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t numel = std::min(step, op.signature.numel - begin);
    const std::int64_t offset = begin * element_bytes;
    MpiTransfers scatter(comm_, run);
    const auto sources = receive_sources(op, offset, numel * element_bytes, scatter);
    for (int r = 0; r < world_size_; ++r) {
      if (r == rank_) continue;
      scatter.send(r, op.parts[static_cast<std::size_t>(r)] + offset, numel * element_bytes);
    }
    scatter.finish();
    std::byte* const output = op.output + offset;
    reduce(op.plan, sources, {&output, 1}, numel);
  }
}

void MpiTransport::all_gather(const OperationRun& run) {
  const Operation& op = run.operation();
  MpiTransfers transfers(comm_, run);
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    transfers.receive(r, op.output + r * op.part_bytes(), op.part_bytes());
    transfers.send(r, op.parts[0], op.part_bytes());
  }
  std::byte* const own = op.output + rank_ * op.part_bytes();
  if (own != op.parts[0]) std::memcpy(own, op.parts[0], static_cast<std::size_t>(op.part_bytes()));
  transfers.finish();
}

void MpiTransport::broadcast(const OperationRun& run) {
  const Operation& op = run.operation();
  MpiTransfers transfers(comm_, run);
  if (rank_ != op.signature.root) {
    transfers.receive(op.signature.root, op.output, op.part_bytes());
  } else {
    for (int r = 0; r < world_size_; ++r) {
      if (r != rank_) transfers.send(r, op.parts[0], op.part_bytes());
    }
  }
  transfers.finish();
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
