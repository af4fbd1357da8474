// The direct algorithm, and the two ways of bringing ordinary tensors to it.
#include "shm_transport.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::int64_t kSmallBytes = 16 * 1024;
constexpr std::int64_t kStagingBytes = 1024 * 1024;

}  // namespace

ShmTransport::ShmTransport(NodeGroup group, int rank)
    : rank_(rank),
      world_size_(group.world_size()),
      memory_(std::make_shared<SymmetricMemory>(std::move(group), rank)),
      rendezvous_(*memory_, rank),
      regroup_(*memory_, rendezvous_, rank),
      channels_(*memory_, rendezvous_, rank),
      staging_(memory_->allocate_copies(2 * kStagingBytes)),
      small_(memory_->allocate_copies(2 * kSmallBytes)) {}

std::shared_ptr<std::byte> ShmTransport::allocate_symmetric(std::int64_t bytes) {
  std::byte* own = memory_->allocate_copies(bytes)[static_cast<std::size_t>(rank_)];
  return {own, [memory = memory_](std::byte*) {}};
}

std::shared_ptr<std::byte> ShmTransport::allocate_shared(std::int64_t bytes) {
  return {memory_->allocate_shared(bytes), [memory = memory_](std::byte*) {}};
}

std::vector<int> ShmTransport::ranks_sharing_memory() const {
  std::vector<int> everyone(static_cast<std::size_t>(world_size_));
  std::iota(everyone.begin(), everyone.end(), 0);
  return everyone;
}

// In memory of its own, so that it goes back when all ranks have closed the window.
WindowMemory ShmTransport::open_window(const OperationRun& run, std::int64_t bytes) {
  NodeGroup group = memory_->group();
  group.log_offset = reserve_logs(run, 1);
  const auto memory = std::make_shared<SymmetricMemory>(std::move(group), rank_);
  const std::vector<std::byte*> copies = memory->allocate_copies(bytes);
  std::byte* const own = copies[static_cast<std::size_t>(rank_)];
  return {{own, [memory](std::byte*) {}}, {copies.begin(), copies.end()}, nullptr};
}

std::unique_ptr<Transfer> ShmTransport::start_transfer(const OperationRun& run) {
  return channels_.start(run);
}

// All ranks come together, so that whoever calls something else is known by name. Rank 0 reserves,
// and says where in the node's memory: that needs no entry in this communicator's log, of which
// there are not so many.
std::uint64_t ShmTransport::reserve_logs(const OperationRun& run, std::size_t groups) {
  Announcement& announced = rendezvous_.new_announcement();
  announced.signature = run.operation().signature;
  if (rank_ == 0) announced.output_location = memory_->reserve_logs(groups);
  rendezvous_.begin(run);
  return rendezvous_.announcement(0).output_location;
}

std::unique_ptr<Transport> ShmTransport::split(const OperationRun& run,
                                               const std::vector<std::vector<int>>& parts,
                                               int own) {
  const std::uint64_t logs = reserve_logs(run, parts.size());
  if (own < 0) return nullptr;
  const auto part = static_cast<std::size_t>(own);
  NodeGroup group{memory_->group().memory, {}, SymmetricMemory::log_at(logs, part)};
  for (const int rank : parts[part]) {
    group.slots.push_back(memory_->group().slots[static_cast<std::size_t>(rank)]);
  }
  return std::make_unique<ShmTransport>(std::move(group), place_in(parts[part], rank_));
}

NextGeneration ShmTransport::regroup(const OperationRun& run, Regrouping how) {
  Members members = regroup_.agree(run, how);
  return {std::make_unique<ShmTransport>(std::move(members.group), members.rank),
          std::move(members.previous_ranks), members.rank};
}

void ShmTransport::run(const OperationRun& run) {
  const Operation& op = run.operation();
  announce(op);
  const bool known = op.largest_part >= 0;
  const std::int64_t bytes = op.largest_part * op.element_bytes() * op.most_parts(world_size_);
  if (known && bytes <= kSmallBytes) return run_small(run);
  rendezvous_.begin(run);
  const std::int64_t largest_part = known ? op.largest_part : check_counts(run);
  if (all_symmetric(op)) return run_direct(run);
  run_staged(run, largest_part);
}

void ShmTransport::greet(const OperationRun& run) {
  announce(run.operation());
  rendezvous_.begin(run);
  if (run.operation().largest_part < 0) check_counts(run);
}

void ShmTransport::announce(const Operation& op) {
  Announcement& own = rendezvous_.new_announcement();
  own.signature = op.signature;
  const auto blocks =
      static_cast<std::uint32_t>(op.parts.size()) / static_cast<std::uint32_t>(op.parts_per_block);
  own.blocks = std::min(blocks, static_cast<std::uint32_t>(kMaxPublishedBlocks));
  for (std::uint32_t b = 0; b < own.blocks; ++b) {
    const auto first = op.parts.begin() + b * op.parts_per_block;
    std::int64_t numel = 0;
    for (auto part = first; part != first + op.parts_per_block; ++part) numel += part->numel;
    own.locations[b] =
        memory_->location(first->data, numel * op.element_bytes()).value_or(kNotSymmetric);
  }
  if (blocks > own.blocks) own.locations[0] = kNotSymmetric;
  own.output_location = op.output == nullptr
                            ? kNotSymmetric
                            : memory_->location(op.output, op.part_bytes()).value_or(kNotSymmetric);
  if (op.largest_part >= 0) return;
  for (std::size_t p = 0; p < op.parts.size(); ++p) own.counts[p] = op.parts[p].numel;
  for (const Pull& pull : op.pulls) own.expected[pull.from] = pull.numel;
}

// What the ranks announced of counts they need not agree on. Returns the largest.
std::int64_t ShmTransport::check_counts(const OperationRun& run) {
  std::int64_t largest = 0;
  for (int r = 0; r < world_size_; ++r) {
    const std::int64_t* counts = rendezvous_.announcement(r).counts;
    largest = std::max(largest, *std::max_element(counts, counts + world_size_));
  }
  for (const Pull& pull : run.operation().pulls) {
    check_same_count(run, {pull.from, rank_}, rendezvous_.announcement(pull.from).counts[pull.part],
                     pull.numel);
  }
  for (const Push& push : run.operation().pushes) {
    const std::int64_t given = run.operation().parts[static_cast<std::size_t>(push.part)].numel;
    check_same_count(run, {rank_, push.to}, given,
                     rendezvous_.announcement(push.to).expected[rank_]);
  }
  return largest;
}

bool ShmTransport::all_symmetric(const Operation& op) {
  for (int r = 0; r < world_size_; ++r) {
    const Announcement& theirs = rendezvous_.announcement(r);
    const auto* end = theirs.locations + theirs.blocks;
    if (std::find(theirs.locations, end, kNotSymmetric) != end) return false;
    if (op.gets_result(r) && theirs.output_location == kNotSymmetric) return false;
  }
  return true;
}

// The address, in this process, of another rank's symmetric memory.
std::byte* ShmTransport::at_location(const OperationRun& run, int rank, std::uint64_t location,
                                     std::int64_t bytes) {
  std::byte* address = memory_->at_location(location, bytes);
  if (address != nullptr) return address;
  throw Mismatch(run.description() + ": rank " + std::to_string(rank) +
                 " passes symmetric memory that this rank has not allocated; every rank must call "
                 "allocate_symmetric with the same sizes in the same order");
}

std::byte* ShmTransport::part_at(const OperationRun& run, int rank, int part, std::int64_t numel) {
  const Operation& op = run.operation();
  const Announcement& theirs = rendezvous_.announcement(rank);
  const int in_block = part % op.parts_per_block;
  std::int64_t begin = in_block * op.largest_part;
  if (op.largest_part < 0) begin = std::accumulate(theirs.counts, theirs.counts + in_block, 0L);
  const std::uint64_t location = theirs.locations[part / op.parts_per_block] +
                                 static_cast<std::uint64_t>(begin * op.element_bytes());
  return at_location(run, rank, location, numel * op.element_bytes());
}

std::byte* ShmTransport::output_at(const OperationRun& run, int rank) {
  return at_location(run, rank, rendezvous_.announcement(rank).output_location,
                     run.operation().part_bytes());
}

template <typename PartAt, typename OutputAt>
void ShmTransport::reduce_for_others(const Operation& op, const Range<PartAt>& range,
                                     const OutputAt& output) {
  const ElementRange slice = owned_slice(range.numel, rank_, world_size_);
  const std::int64_t offset = slice.begin * op.element_bytes();
  const auto sources = plan_sources(
      op, rank_, [&](int r, int p) -> const std::byte* { return range.part(r, p) + offset; });
  std::vector<std::byte*> destinations;
  for (int r = 0; r < world_size_; ++r) {
    if (op.gets_result(r)) destinations.push_back(output(r) + offset);
  }
  reduce(op.plan, sources, destinations, slice.numel());
}

template <typename PartAt>
void ShmTransport::reduce_for_self(const Operation& op, const Range<PartAt>& range) {
  const auto sources =
      plan_sources(op, rank_, [&](int r, int p) -> const std::byte* { return range.part(r, p); });
  std::byte* const output = op.output + range.begin * op.element_bytes();
  reduce(op.plan, sources, {&output, 1}, range.numel);
}

// What this rank takes from itself does not go through shared memory.
template <typename PartAt>
void ShmTransport::pull(const Operation& op, const Range<PartAt>& range) {
  for (const Pull& pull : op.pulls) {
    const std::int64_t numel = std::min(range.numel, pull.numel - range.begin);
    if (numel <= 0) continue;
    const std::int64_t offset = range.begin * op.element_bytes();
    const std::byte* from = pull.from == rank_
                                ? op.parts[static_cast<std::size_t>(pull.part)].data + offset
                                : range.part(pull.from, pull.part);
    copy_bytes(pull.to + offset, from, numel * op.element_bytes());
  }
}

template <typename PartAt>
void ShmTransport::copy_in(const Operation& op, const Range<PartAt>& range) {
  for (std::size_t p = 0; p < op.parts.size(); ++p) {
    const std::int64_t numel = std::min(range.numel, op.parts[p].numel - range.begin);
    if (numel <= 0) continue;
    copy_bytes(range.part(rank_, static_cast<int>(p)),
               op.parts[p].data + range.begin * op.element_bytes(), numel * op.element_bytes());
  }
}

// A half is free again when its rank has begun the next small operation, since everybody has then
// ended this one.
void ShmTransport::run_small(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t half = static_cast<std::int64_t>(small_runs_++ % 2) * kSmallBytes;
  const Range range{0, op.largest_part, [&](int r, int p) {
                      return small_[static_cast<std::size_t>(r)] + half +
                             p * op.largest_part * op.element_bytes();
                    }};
  copy_in(op, range);
  rendezvous_.begin(run);
  if (op.flow() == Flow::kPull) return pull(op, range);
  const bool reduces = op.flow() == Flow::kReduceToSlot || op.gets_result(rank_);
  if (reduces) reduce_for_self(op, range);
}

void ShmTransport::run_direct(const OperationRun& run) {
  const Operation& op = run.operation();
  if (op.flow() == Flow::kPull) {
    for (const Pull& pull : op.pulls) {
      const std::byte* from = pull.from == rank_
                                  ? op.parts[static_cast<std::size_t>(pull.part)].data
                                  : part_at(run, pull.from, pull.part, pull.numel);
      copy_bytes(pull.to, from, pull.numel * op.element_bytes());
    }
  } else {
    const Range range{0, op.signature.numel,
                      [&](int r, int p) { return part_at(run, r, p, op.signature.numel); }};
    if (op.flow() == Flow::kReduceToSlot) {
      reduce_for_self(op, range);
    } else {
      reduce_for_others(op, range, [&](int r) { return output_at(run, r); });
    }
  }
  rendezvous_.meet(run);  // from here on nobody reads or writes another's tensor
}

// While chunk k is reduced in one half of the staging area, chunk k + 1 is copied into the other,
// so that one meeting a chunk is enough: it ends the reduction of k and the copying of k + 1.
void ShmTransport::run_staged(const OperationRun& run, std::int64_t largest_part) {
  const Operation& op = run.operation();
  const std::int64_t chunk =
      staged_numel(kStagingBytes, op.most_parts(world_size_), op.element_bytes());
  const std::int64_t chunks = (largest_part + chunk - 1) / chunk;
  const auto staged = [&](std::int64_t k) {
    return Range{k * chunk, std::min(chunk, largest_part - k * chunk),
                 [&, half = k % 2 * kStagingBytes](int r, int p) {
                   return staging_[static_cast<std::size_t>(r)] + half +
                          p * chunk * op.element_bytes();
                 }};
  };
  copy_in(op, staged(0));
  rendezvous_.meet(run);
  for (std::int64_t k = 0; k < chunks; ++k) {
    const auto range = staged(k);
    if (op.flow() == Flow::kPull) {
      pull(op, range);
    } else if (op.flow() == Flow::kReduceToSlot) {
      reduce_for_self(op, range);
    } else {
      reduce_for_others(op, range, [&](int r) { return range.part(r, 0); });
    }
    if (k + 1 < chunks) copy_in(op, staged(k + 1));
    rendezvous_.meet(run);
    if (op.gets_result(rank_)) {
      copy_bytes(op.output + range.begin * op.element_bytes(), range.part(rank_, 0),
                 range.numel * op.element_bytes());
    }
  }
}

}  // namespace muster::internal
