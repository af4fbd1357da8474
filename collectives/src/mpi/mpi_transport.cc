// All-to-all of slices, reduction by the owner, all-gather.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_transport.h"

#include <mpi.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "mpi/mpi_peer_transfer.h"
#include "mpi/mpi_reader.h"
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

MpiTransport::MpiTransport(MpiLink link)
    : link_(std::move(link)),
      rank_(link_.rank),
      world_size_(link_.world_size()),
      next_mailbox_(std::make_shared<Mailbox>(link_.wires)),
      peers_(link_),
      regroup_(link_, peers_),
      greetings_(link_.ranks.size()),
      own_greetings_(link_.ranks.size()) {}

bool MpiTransport::leave() noexcept {
  peers_.leave();
  return peers_.memory_in_flight();
}

MpiTransport::~MpiTransport() {
  if (!leave()) return;
  keep_for_ever(std::move(greetings_));
  keep_for_ever(std::move(own_greetings_));
  keep_for_ever(std::move(scratch_));
  keep_for_ever(std::move(result_));
}

std::shared_ptr<std::byte> MpiTransport::allocate_symmetric(std::int64_t bytes) {
  return allocate_zeroed(bytes);
}

std::optional<MpiLink> MpiTransport::make_link(const OperationRun& run,
                                               const std::vector<std::vector<int>>& parts,
                                               int own) {
  end(run);
  if (own < 0) return std::nullopt;
  const std::vector<int>& part = parts[static_cast<std::size_t>(own)];
  MpiLink link{link_.wires, next_mailbox_, {}, place_in(part, rank_)};
  for (const int r : part) {
    const auto peer = static_cast<std::size_t>(r);
    const std::int64_t mailbox = r == rank_ ? link.own->number() : greetings_[peer].mailbox;
    link.ranks.push_back({link_.ranks[peer].place, static_cast<int>(mailbox)});
  }
  next_mailbox_ = std::make_shared<Mailbox>(link_.wires);
  return link;
}

std::unique_ptr<Transport> MpiTransport::split(const OperationRun& run,
                                               const std::vector<std::vector<int>>& parts,
                                               int own) {
  greet(run);
  std::optional<MpiLink> link = make_link(run, parts, own);
  if (!link) return nullptr;
  return std::make_unique<MpiTransport>(std::move(*link));
}

std::unique_ptr<RemoteReader> MpiTransport::open_reader(const OperationRun& run,
                                                        std::shared_ptr<const std::byte> own) {
  std::vector<int> everyone(static_cast<std::size_t>(world_size_));
  std::iota(everyone.begin(), everyone.end(), 0);
  std::optional<MpiLink> link = make_link(run, {everyone}, 0);
  return std::make_unique<MpiReader>(std::move(*link), std::move(own), run.timeout());
}

WindowMemory MpiTransport::open_window(const OperationRun& run, std::int64_t bytes) {
  greet(run);
  std::shared_ptr<std::byte> own = allocate_zeroed(bytes);
  std::vector<const std::byte*> mapped(static_cast<std::size_t>(world_size_));
  mapped[static_cast<std::size_t>(rank_)] = own.get();
  std::unique_ptr<RemoteReader> reader = open_reader(run, own);
  return {std::move(own), std::move(mapped), std::move(reader)};
}

NextGeneration MpiTransport::regroup(const OperationRun& run, Regrouping how) {
  MpiRegroup::Remnant remnant = regroup_.agree(run, how);
  const int rank = place_in(remnant.ranks, rank_);
  return {std::make_unique<MpiTransport>(std::move(remnant.link)), std::move(remnant.ranks), rank};
}

void MpiTransport::run(const OperationRun& run) {
  greet(run);
  switch (run.operation().flow()) {
    case Flow::kReduceToAll:
    case Flow::kReduceToRoot:
      reduce_for_others(run);
      break;
    case Flow::kReduceToSlot:
      reduce_for_self(run);
      break;
    case Flow::kPull:
      pull(run);
      break;
    case Flow::kNothing:
    case Flow::kPeer:
      break;
  }
  end(run);
}

void MpiTransport::greet(const OperationRun& run) {
  const Operation& op = run.operation();
  peers_.begin(run);
  MpiTransfers transfers(link_, peers_, run);
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    const auto peer = static_cast<std::size_t>(r);
    const bool has_part = peer < op.parts.size();
    const bool has_pull = peer < op.pulls.size();
    own_greetings_[peer] = {op.signature, has_part ? op.parts[peer].numel : 0,
                            has_pull ? op.pulls[peer].numel : 0, next_mailbox_->number()};
    transfers.receive(r, reinterpret_cast<std::byte*>(&greetings_[peer]), sizeof(Greeting));
    transfers.send(r, reinterpret_cast<const std::byte*>(&own_greetings_[peer]), sizeof(Greeting));
  }
  transfers.finish();
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    const Greeting& theirs = greetings_[static_cast<std::size_t>(r)];
    const OperationKind kind = theirs.signature.kind;
    peers_.heard(r, kind == op.signature.kind ? run.whole().signature.kind : kind);
    check_same_operation(run, op.signature, rank_, theirs.signature, r);
  }
  if (op.largest_part >= 0) return;
  for (const Pull& pull : op.pulls) {
    if (pull.from == rank_) continue;
    const Greeting& theirs = greetings_[static_cast<std::size_t>(pull.from)];
    const Greeting& ours = own_greetings_[static_cast<std::size_t>(pull.from)];
    check_same_count(run, {pull.from, rank_}, theirs.count, ours.expected);
    check_same_count(run, {rank_, pull.from}, ours.count, theirs.expected);
  }
}

std::vector<const std::byte*> MpiTransport::receive_sources(const Operation& op,
                                                            std::int64_t own_offset_bytes,
                                                            std::int64_t bytes,
                                                            MpiTransfers& transfers) {
  scratch_.resize(std::max(scratch_.size(), static_cast<std::size_t>(bytes * op.plan.sources)));
  std::byte* free = scratch_.data();
  return plan_sources(op, rank_, [&](int r, int p) -> const std::byte* {
    if (r == rank_) return op.parts[static_cast<std::size_t>(p)].data + own_offset_bytes;
    std::byte* const slot = free;
    free += bytes;
    transfers.receive(r, slot, bytes);
    return slot;
  });
}

// The owner of a slice need not get the result: then it makes it beside its sources.
void MpiTransport::reduce_for_others(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t element_bytes = op.element_bytes();
  const std::int64_t step = range_numel(op) * world_size_;
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t numel = std::min(step, op.signature.numel - begin);
    const auto offset_of = [&](int r) {
      return (begin + owned_slice(numel, r, world_size_).begin) * element_bytes;
    };
    const auto bytes_of = [&](int r) {
      return owned_slice(numel, r, world_size_).numel() * element_bytes;
    };
    MpiTransfers scatter(link_, peers_, run);
    const auto sources = receive_sources(op, offset_of(rank_), bytes_of(rank_), scatter);
    for (int r = 0; r < world_size_; ++r) {
      if (r == rank_) continue;
      for (const Part& part : op.parts) scatter.send(r, part.data + offset_of(r), bytes_of(r));
    }
    scatter.finish();
    result_.resize(std::max(result_.size(), static_cast<std::size_t>(bytes_of(rank_))));
    std::byte* const own = op.output == nullptr ? result_.data() : op.output + offset_of(rank_);
    reduce(op.plan, sources, {&own, 1}, bytes_of(rank_) / element_bytes);
    MpiTransfers gather(link_, peers_, run);
    for (int r = 0; r < world_size_; ++r) {
      if (r == rank_) continue;
      if (op.output != nullptr) gather.receive(r, op.output + offset_of(r), bytes_of(r));
      if (op.gets_result(r)) gather.send(r, own, bytes_of(rank_));
    }
    gather.finish();
  }
}

void MpiTransport::reduce_for_self(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t element_bytes = op.element_bytes();
  const std::int64_t step = range_numel(op);
  for (std::int64_t begin = 0; begin < op.signature.numel; begin += step) {
    const std::int64_t numel = std::min(step, op.signature.numel - begin);
    const std::int64_t offset = begin * element_bytes;
    MpiTransfers scatter(link_, peers_, run);
    const auto sources = receive_sources(op, offset, numel * element_bytes, scatter);
    for (std::size_t p = 0; p < op.parts.size(); ++p) {
      const int to = static_cast<int>(p) % world_size_;
      if (to != rank_) scatter.send(to, op.parts[p].data + offset, numel * element_bytes);
    }
    scatter.finish();
    std::byte* const output = op.output + offset;
    reduce(op.plan, sources, {&output, 1}, numel);
  }
}

void MpiTransport::pull(const OperationRun& run) {
  const Operation& op = run.operation();
  MpiTransfers transfers(link_, peers_, run);
  for (const Pull& pull : op.pulls) {
    const std::int64_t bytes = pull.numel * op.element_bytes();
    if (pull.from == rank_) {
      copy_bytes(pull.to, op.parts[static_cast<std::size_t>(pull.part)].data, bytes);
    } else {
      transfers.receive(pull.from, pull.to, bytes);
    }
  }
  for (const Push& push : op.pushes) {
    const Part& part = op.parts[static_cast<std::size_t>(push.part)];
    transfers.send(push.to, part.data, part.numel * op.element_bytes());
  }
  transfers.finish();
}

std::unique_ptr<Transfer> MpiTransport::start_transfer(const OperationRun& run) {
  return std::make_unique<MpiPeerTransfer>(link_, peers_, run);
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
