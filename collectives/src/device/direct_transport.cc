// Telling where tensors lie, and the two ways of combining them.
#include "device/direct_transport.h"

#include <algorithm>
#include <cstring>
#include <numeric>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

// More blocks than this go through the staging area.
constexpr int kMaxBlocks = 64;

void append(std::vector<std::byte>& to, const void* from, std::size_t bytes) {
  const auto* begin = static_cast<const std::byte*>(from);
  to.insert(to.end(), begin, begin + bytes);
}

void take(const std::byte*& from, void* to, std::size_t bytes) {
  if (bytes > 0) std::memcpy(to, from, bytes);  // `to` of an empty vector may be null
  from += bytes;
}

// Of the rank that has most.
int blocks_of(const Operation& op, int world_size) {
  return op.most_parts(world_size) / op.parts_per_block;
}

}  // namespace

DirectTransport::DirectTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device,
                                 int rank, int world_size, std::int64_t half_bytes)
    : DeviceTransport(std::move(host), std::move(device), rank, world_size),
      half_bytes_(half_bytes),
      buffers_(std::make_shared<PeerBuffers>(shared_device())),
      own_area_(buffers_->allocate(2 * half_bytes)) {}

std::shared_ptr<std::byte> DirectTransport::allocate_symmetric(std::int64_t bytes) {
  return buffers_->allocate(bytes);
}

std::unique_ptr<Transport> DirectTransport::rewired(std::unique_ptr<Transport> host, int rank,
                                                    int world_size) {
  return std::make_unique<DirectTransport>(std::move(host), shared_device(), rank, world_size,
                                           half_bytes_);
}

void DirectTransport::connect(const OperationRun& run) {
  const PeerPlace own = buffers_->place(own_area_.get(), 2 * half_bytes_);
  std::vector<std::byte> bytes;
  append(bytes, &own, sizeof(own));
  const std::vector<std::byte> all = from_all(run, bytes);
  const std::byte* from = all.data();
  for (int r = 0; r < world_size(); ++r) {
    PeerPlace place;
    take(from, &place, sizeof(place));
    areas_.push_back(r == rank() ? own_area_.get() : address(run, r, place));
  }
}

// Tensors are ready on every rank once all have told where they lie.
void DirectTransport::run_on_device(const OperationRun& run) {
  const Operation& op = run.operation();
  check_sources(op);
  device().follow(Lane::kFirst, op.issued);
  wait_for(device().mark(Lane::kFirst), run);
  tensors_ = exchange(run);
  std::int64_t largest = op.largest_part;
  bool reachable = true;
  for (const Tensors& theirs : tensors_) {
    reachable = reachable && theirs.reachable != 0;
    for (const std::int64_t count : theirs.counts) largest = std::max(largest, count);
  }
  if (reachable) return run_direct(run);
  run_staged(run, StagingPlan(op, rank(), world_size(), largest, half_bytes_));
}

DirectTransport::Tensors DirectTransport::own_tensors(const Operation& op) const {
  const int blocks = blocks_of(op, world_size());
  Tensors own;
  own.blocks.resize(static_cast<std::size_t>(std::min(blocks, kMaxBlocks)));
  own.counts.resize(op.largest_part < 0 ? static_cast<std::size_t>(world_size()) : 0);
  for (std::size_t p = 0; p < own.counts.size(); ++p) own.counts[p] = op.parts[p].numel;
  bool reachable = blocks <= kMaxBlocks;
  for (std::size_t b = 0; b * static_cast<std::size_t>(op.parts_per_block) < op.parts.size(); ++b) {
    if (!reachable) break;
    const auto first = op.parts.begin() + static_cast<std::ptrdiff_t>(b) * op.parts_per_block;
    std::int64_t numel = 0;
    for (auto part = first; part != first + op.parts_per_block; ++part) numel += part->numel;
    if (numel == 0) continue;  // nobody looks for it
    own.blocks[b] = buffers_->place(first->data, numel * op.element_bytes());
    reachable = own.blocks[b].buffer != 0;
  }
  if (op.gets_result(rank()) && op.signature.numel > 0) {
    own.output = buffers_->place(op.output, op.part_bytes());
    reachable = reachable && own.output.buffer != 0;
  }
  own.reachable = reachable ? 1 : 0;
  return own;
}

std::vector<DirectTransport::Tensors> DirectTransport::exchange(const OperationRun& run) {
  const Tensors own = own_tensors(run.operation());
  std::vector<std::byte> bytes;
  append(bytes, own.blocks.data(), own.blocks.size() * sizeof(PeerPlace));
  append(bytes, &own.output, sizeof(own.output));
  append(bytes, &own.reachable, sizeof(own.reachable));
  append(bytes, own.counts.data(), own.counts.size() * sizeof(std::int64_t));
  const std::vector<std::byte> all = from_all(run, bytes);
  const std::byte* from = all.data();
  std::vector<Tensors> tensors(static_cast<std::size_t>(world_size()), own);
  for (Tensors& theirs : tensors) {
    take(from, theirs.blocks.data(), theirs.blocks.size() * sizeof(PeerPlace));
    take(from, &theirs.output, sizeof(theirs.output));
    take(from, &theirs.reachable, sizeof(theirs.reachable));
    take(from, theirs.counts.data(), theirs.counts.size() * sizeof(std::int64_t));
  }
  return tensors;
}

// Memory of a process that has ended cannot be opened, and looks as if the device were at fault.
std::byte* DirectTransport::address(const OperationRun& run, int of, const PeerPlace& place) {
  try {
    return buffers_->address(of, place);
  } catch (const ConfigError&) {
    host().check_peers(run);
    throw;
  }
}

const std::byte* DirectTransport::part_at(const OperationRun& run, int of, int part) {
  const Operation& op = run.operation();
  if (of == rank()) return op.parts[static_cast<std::size_t>(part)].data;
  const Tensors& theirs = tensors_[static_cast<std::size_t>(of)];
  const int in_block = part % op.parts_per_block;
  std::int64_t begin = in_block * op.largest_part;
  if (op.largest_part < 0) {
    begin =
        std::accumulate(theirs.counts.begin(), theirs.counts.begin() + in_block, std::int64_t{0});
  }
  const auto block = static_cast<std::size_t>(part / op.parts_per_block);
  return address(run, of, theirs.blocks[block]) + begin * op.element_bytes();
}

std::byte* DirectTransport::output_at(const OperationRun& run, int of) {
  if (of == rank()) return run.operation().output;
  return address(run, of, tensors_[static_cast<std::size_t>(of)].output);
}

// This rank's slice of `numel` elements, to all that get it.
void DirectTransport::combine_for_others(const Operation& op, std::int64_t numel,
                                         const auto& part_of, const auto& output_of) {
  const ElementRange slice = owned_slice(numel, rank(), world_size());
  const std::int64_t offset = slice.begin * op.element_bytes();
  const auto sources =
      plan_sources(op, rank(), [&](int r, int p) { return part_of(r, p) + offset; });
  std::vector<std::byte*> destinations;
  for (int r = 0; r < world_size(); ++r) {
    if (op.gets_result(r)) destinations.push_back(output_of(r) + offset);
  }
  device().reduce(op.plan, sources, destinations, slice.numel());
}

// The last meeting is the end of everybody's reading and writing of others' tensors.
void DirectTransport::run_direct(const OperationRun& run) {
  const Operation& op = run.operation();
  const auto part_of = [&](int r, int p) { return part_at(run, r, p); };
  if (op.flow() == Flow::kPull) {
    for (const Pull& pull : op.pulls) {
      if (pull.numel == 0) continue;
      const std::byte* from = part_of(pull.from, pull.part);
      if (from == pull.to) continue;
      device().copy(Lane::kFirst, pull.to, from, pull.numel * op.element_bytes());
    }
  } else if (op.signature.numel > 0 && op.flow() == Flow::kReduceToSlot) {
    device().reduce(op.plan, plan_sources(op, rank(), part_of), {&op.output, 1},
                    op.signature.numel);
  } else if (op.signature.numel > 0) {
    combine_for_others(op, op.signature.numel, part_of, [&](int r) { return output_at(run, r); });
  }
  wait_for(device().mark(Lane::kFirst), run);
  host().greet(run);
}

// While piece k is combined in one half of the areas, piece k + 1 is copied into the other, so that
// one meeting a piece is enough: it ends the one and the other.
void DirectTransport::run_staged(const OperationRun& run, const StagingPlan& plan) {
  const Operation& op = run.operation();
  copy_all(plan.own_copies());
  if (plan.pieces() > 0) copy_all(plan.copies_in(0, area(rank(), 0)));
  for (std::int64_t k = 0; k < plan.pieces(); ++k) {
    if (k == 0) {
      wait_for(device().mark(Lane::kFirst), run);
      host().greet(run);
    }
    work_on(op, plan, k);
    if (k + 1 < plan.pieces()) copy_all(plan.copies_in(k + 1, area(rank(), k + 1)));
    wait_for(device().mark(Lane::kFirst), run);
    host().greet(run);
    if (op.gets_result(rank())) copy_all(plan.copies_out(k, area(rank(), k)));
  }
  wait_for(device().mark(Lane::kFirst), run);
}

void DirectTransport::work_on(const Operation& op, const StagingPlan& plan, std::int64_t k) {
  const ElementRange range = plan.range(k);
  const auto part_of = [&](int r, int p) -> const std::byte* {
    return area(r, k) + plan.part_offset_bytes(k, p);
  };
  if (op.flow() == Flow::kReduceToSlot) {
    std::byte* const output = op.output + range.begin * op.element_bytes();
    device().reduce(op.plan, plan_sources(op, rank(), part_of), {&output, 1}, range.numel());
  } else if (op.flow() != Flow::kPull) {
    combine_for_others(op, range.numel(), part_of,
                       [&](int r) { return area(r, k) + plan.part_offset_bytes(k, 0); });
  } else {
    for (const Pull& pull : op.pulls) {
      const std::int64_t numel = std::min(range.numel(), pull.numel - range.begin);
      if (pull.from == rank() || numel <= 0) continue;
      device().copy(Lane::kFirst, pull.to + range.begin * op.element_bytes(),
                    part_of(pull.from, pull.part), numel * op.element_bytes());
    }
  }
}

void DirectTransport::copy_all(const std::vector<StagedCopy>& copies) {
  for (const StagedCopy& copy : copies) {
    device().copy(Lane::kFirst, copy.to, copy.from, copy.bytes);
  }
}

}  // namespace muster::internal
