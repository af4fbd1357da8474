// The direct algorithm, and the two ways of bringing ordinary tensors to it.
#include "shm_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::int64_t kSmallBytes = 16 * 1024;
constexpr std::int64_t kStagingBytes = 1024 * 1024;

bool reduces_for_all(OperationKind kind) {
  return kind == OperationKind::kAllReduce || kind == OperationKind::kCanonicalAllReduce;
}

void copy_bytes(std::byte* to, const std::byte* from, std::int64_t bytes) {
  if (bytes > 0 && to != from) std::memcpy(to, from, static_cast<std::size_t>(bytes));
}

}  // namespace

ShmTransport::ShmTransport(std::shared_ptr<NodeMemory> node_memory, int rank, int world_size)
    : rank_(rank),
      world_size_(world_size),
      memory_(std::make_shared<SymmetricMemory>(node_memory, rank, world_size)),
      rendezvous_(std::move(node_memory), *memory_, rank, world_size),
      staging_(memory_->allocate_copies(2 * kStagingBytes)),
      small_(memory_->allocate_copies(2 * kSmallBytes)) {}

std::shared_ptr<std::byte> ShmTransport::allocate_symmetric(std::int64_t bytes) {
  std::byte* own = memory_->allocate_copies(bytes)[static_cast<std::size_t>(rank_)];
  return {own, [memory = memory_](std::byte*) {}};
}

void ShmTransport::run(const OperationRun& run) {
  const Operation& op = run.operation();
  announce(op);
  if (op.part_bytes() * op.most_parts() <= kSmallBytes) return run_small(run);
  rendezvous_.begin(run);
  if (all_symmetric(op)) return run_direct(run);
  run_staged(run);
}

// Parts beyond the first are published for the canonical form alone; those of reduce_scatter follow
// one another.
void ShmTransport::announce(const Operation& op) {
  Announcement& own = rendezvous_.new_announcement();
  own.signature = op.signature;
  const bool one_block = op.signature.kind == OperationKind::kReduceScatter;
  const std::size_t published =
      one_block ? std::min<std::size_t>(1, op.parts.size()) : op.parts.size();
  own.parts = static_cast<std::uint32_t>(std::min(published, kMaxPublishedParts));
  const std::int64_t bytes = one_block ? op.part_bytes() * world_size_ : op.part_bytes();
  for (std::uint32_t j = 0; j < own.parts; ++j) {
    own.locations[j] = memory_->location(op.parts[j], bytes).value_or(kNotSymmetric);
  }
  if (published > kMaxPublishedParts) own.locations[0] = kNotSymmetric;
}

bool ShmTransport::all_symmetric(const Operation& op) {
  for (int r = 0; r < world_size_; ++r) {
    const Announcement& theirs = rendezvous_.announcement(r);
    const auto* end = theirs.locations + theirs.parts;
    if (std::find(theirs.locations, end, kNotSymmetric) != end) return false;
  }
  return op.most_parts() > 0;
}

// The address, in this process, of another rank's part in symmetric memory.
std::byte* ShmTransport::part_at(const OperationRun& run, int rank, int part) {
  const Operation& op = run.operation();
  const Announcement& theirs = rendezvous_.announcement(rank);
  const bool one_block = op.signature.kind == OperationKind::kReduceScatter;
  const std::uint64_t location =
      one_block ? theirs.locations[0] + static_cast<std::uint64_t>(part * op.part_bytes())
                : theirs.locations[part];
  std::byte* address = memory_->at_location(location, op.part_bytes());
  if (address != nullptr) return address;
  throw Mismatch(run.description() + ": rank " + std::to_string(rank) +
                 " passes symmetric memory that this rank has not allocated; every rank must call "
                 "allocate_symmetric with the same sizes in the same order");
}

template <typename Part>
void ShmTransport::reduce_for_all(const Operation& op, std::int64_t numel, const Part& part) {
  const ElementRange slice = owned_slice(numel, rank_, world_size_);
  const std::int64_t offset = slice.begin * op.signature.element_bytes;
  auto sources = plan_sources(
      op, rank_, [&](int r, int j) -> const std::byte* { return part(r, j) + offset; });
  std::vector<std::byte*> destinations;
  for (int r = 0; r < world_size_; ++r) destinations.push_back(part(r, 0) + offset);
  reduce(op.plan, sources, destinations, slice.numel());
}

template <typename Part>
void ShmTransport::reduce_for_self(const Operation& op, std::int64_t begin, std::int64_t numel,
                                   const Part& part) {
  const auto sources =
      plan_sources(op, rank_, [&](int r, int j) -> const std::byte* { return part(r, j); });
  std::byte* const output = op.output + begin * op.signature.element_bytes;
  reduce(op.plan, sources, {&output, 1}, numel);
}

// What needs no arithmetic: all_gather and broadcast.
template <typename Part>
void ShmTransport::collect(const Operation& op, std::int64_t begin, std::int64_t numel,
                           const Part& part) {
  const std::int64_t offset = begin * op.signature.element_bytes;
  const std::int64_t bytes = numel * op.signature.element_bytes;
  if (op.signature.kind == OperationKind::kBroadcast) {
    if (rank_ != op.signature.root)
      copy_bytes(op.output + offset, part(op.signature.root, 0), bytes);
    return;
  }
  for (int r = 0; r < world_size_; ++r) {
    copy_bytes(op.output + r * op.part_bytes() + offset,
               r == rank_ ? op.parts[0] + offset : part(r, 0), bytes);
  }
}

template <typename Part>
void ShmTransport::copy_in(const Operation& op, std::int64_t begin, std::int64_t numel,
                           const Part& part) {
  for (std::size_t j = 0; j < op.parts.size(); ++j) {
    copy_bytes(part(rank_, static_cast<int>(j)), op.parts[j] + begin * op.signature.element_bytes,
               numel * op.signature.element_bytes);
  }
}

// A half is free again when its rank has begun the next small operation, since everybody has then
// ended this one.
void ShmTransport::run_small(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t half = static_cast<std::int64_t>(small_runs_++ % 2) * kSmallBytes;
  const auto part = [&](int r, int j) {
    return small_[static_cast<std::size_t>(r)] + half + j * op.part_bytes();
  };
  copy_in(op, 0, op.signature.numel, part);
  rendezvous_.begin(run);
  switch (op.signature.kind) {
    case OperationKind::kBarrier:
    case OperationKind::kLeave:
      return;
    case OperationKind::kAllGather:
    case OperationKind::kBroadcast:
      return collect(op, 0, op.signature.numel, part);
    default:
      return reduce_for_self(op, 0, op.signature.numel, part);
  }
}

void ShmTransport::run_direct(const OperationRun& run) {
  const Operation& op = run.operation();
  const auto part = [&](int r, int j) { return part_at(run, r, j); };
  if (reduces_for_all(op.signature.kind)) {
    reduce_for_all(op, op.signature.numel, part);
  } else if (op.signature.kind == OperationKind::kReduceScatter) {
    reduce_for_self(op, 0, op.signature.numel, part);
  } else {
    collect(op, 0, op.signature.numel, part);
  }
  rendezvous_.meet(run);  // from here on nobody reads or writes another's tensor
}

// While chunk k is reduced in one half of the staging area, chunk k + 1 is copied into the other,
// so that one meeting a chunk is enough: it ends the reduction of k and the copying of k + 1.
void ShmTransport::run_staged(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t element_bytes = op.signature.element_bytes;
  const std::int64_t chunk_numel =
      std::max<std::int64_t>(64, kStagingBytes / op.most_parts() / element_bytes / 64 * 64);
  MUSTER_CHECK_LE(chunk_numel * element_bytes * op.most_parts(), kStagingBytes);
  const std::int64_t chunks = (op.signature.numel + chunk_numel - 1) / chunk_numel;
  const auto chunk_begin = [&](std::int64_t k) { return k * chunk_numel; };
  const auto chunk_size = [&](std::int64_t k) {
    return std::min(chunk_numel, op.signature.numel - chunk_begin(k));
  };
  const auto staged = [&](std::int64_t k) {
    return [&, half = k % 2 * kStagingBytes](int r, int j) {
      return staging_[static_cast<std::size_t>(r)] + half + j * chunk_numel * element_bytes;
    };
  };
  copy_in(op, 0, chunk_size(0), staged(0));
  rendezvous_.meet(run);
  for (std::int64_t k = 0; k < chunks; ++k) {
    const auto part = staged(k);
    if (reduces_for_all(op.signature.kind)) {
      reduce_for_all(op, chunk_size(k), part);
    } else if (op.signature.kind == OperationKind::kReduceScatter) {
      reduce_for_self(op, chunk_begin(k), chunk_size(k), part);
    } else {
      collect(op, chunk_begin(k), chunk_size(k), part);
    }
    if (k + 1 < chunks) copy_in(op, chunk_begin(k + 1), chunk_size(k + 1), staged(k + 1));
    rendezvous_.meet(run);
    if (reduces_for_all(op.signature.kind)) {
      copy_bytes(op.output + chunk_begin(k) * element_bytes, part(rank_, 0),
                 chunk_size(k) * element_bytes);
    }
  }
}

}  // namespace muster::internal
