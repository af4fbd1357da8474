// All-to-all of the nodes' partials, combination by the owner, and the way back.
#ifdef MUSTER_HAS_MPI
#include "mpi/nodes_transport.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "shm_transport.h"

namespace muster::internal {
namespace {

// Of a rank's parts in one chunk. Large enough that messages are, small enough for the cache that
// the cores of a node share.
constexpr std::int64_t kNodeStagingBytes = 4 * 1024 * 1024;

}  // namespace

/// One operation. Its vectors are cut into chunks; while the partials of chunk k are on their way,
/// chunk k + 1 is copied into the other half of the staging area, so that one meeting of the node a
/// chunk is enough: it ends the results of k and the copying of k + 1.
class NodesTransport::Reduction {
 public:
  Reduction(NodesTransport& node, const OperationRun& run);
  void run_all();

 private:
  struct Chunk {
    std::int64_t begin;
    std::int64_t numel;
    std::int64_t half;  // offset in staging and results
  };

  Chunk chunk(std::int64_t k) const;
  /// The elements of the chunk that `owner` makes the result of.
  ElementRange slice(const Chunk& chunk, int owner) const;
  /// Source `index` of the plan, as it lies in the staging area, for `owner`'s slice.
  const std::byte* staged(const Chunk& chunk, int index, int owner) const;
  bool node_gets_result(int node) const;
  bool to_slot() const { return op_.flow() == Flow::kReduceToSlot; }

  void copy_in(const Chunk& chunk);
  void copy_out(const Chunk& chunk);
  std::vector<const std::byte*> receive_partials(const Chunk& chunk, MpiTransfers& transfers);
  void send_partials(const Chunk& chunk, MpiTransfers& transfers);
  void combine_own_slice(const Chunk& chunk, const std::vector<const std::byte*>& inputs);
  void spread_result(const Chunk& chunk);

  struct Source {
    int rank;
    int index;  // among the rank's sources
  };

  NodesTransport& node_;
  const OperationRun& run_;
  const Operation& op_;
  const int world_size_;
  const std::int64_t chunk_numel_;
  std::vector<Source> sources_;
  NodeReduction reduction_;
};

NodesTransport::Reduction::Reduction(NodesTransport& node, const OperationRun& run)
    : node_(node),
      run_(run),
      op_(run.operation()),
      world_size_(static_cast<int>(op_.sources_by_rank.size())),
      chunk_numel_(
          staged_numel(kNodeStagingBytes, op_.most_parts(world_size_), op_.element_bytes())) {
  std::vector<int> node_of_source;
  for (int r = 0; r < world_size_; ++r) {
    for (int i = 0; i < op_.sources_by_rank[static_cast<std::size_t>(r)]; ++i) {
      sources_.push_back({r, i});
      node_of_source.push_back(node_.layout_.node_of(r));
    }
  }
  reduction_ = reduce_by_nodes(op_.plan, node_of_source, node_.node_);
}

NodesTransport::Reduction::Chunk NodesTransport::Reduction::chunk(std::int64_t k) const {
  const std::int64_t begin = k * chunk_numel_;
  return {begin, std::min(chunk_numel_, op_.signature.numel - begin), k % 2 * kNodeStagingBytes};
}

ElementRange NodesTransport::Reduction::slice(const Chunk& chunk, int owner) const {
  if (to_slot()) return {0, chunk.numel};
  return owned_slice(chunk.numel, owner, world_size_);
}

const std::byte* NodesTransport::Reduction::staged(const Chunk& chunk, int index, int owner) const {
  const Source& source = sources_[static_cast<std::size_t>(index)];
  const std::int64_t part = to_slot() ? source.index * world_size_ + owner : source.index;
  const auto local_rank = static_cast<std::size_t>(node_.layout_.local_rank_of(source.rank));
  const std::int64_t element = part * chunk_numel_ + slice(chunk, owner).begin;
  return node_.staging_[local_rank] + chunk.half + element * op_.element_bytes();
}

bool NodesTransport::Reduction::node_gets_result(int node) const {
  return op_.flow() == Flow::kReduceToAll || node == node_.layout_.node_of(op_.signature.root);
}

void NodesTransport::Reduction::run_all() {
  const std::int64_t chunks = (op_.signature.numel + chunk_numel_ - 1) / chunk_numel_;
  if (chunks == 0) return;
  copy_in(chunk(0));
  node_.rendezvous_.meet(run_);
  for (std::int64_t k = 0; k < chunks; ++k) {
    const Chunk current = chunk(k);
    MpiTransfers transfers(node_.link_, node_.flat_.peers(), run_);
    const auto inputs = receive_partials(current, transfers);
    send_partials(current, transfers);
    if (k + 1 < chunks) copy_in(chunk(k + 1));
    transfers.finish();
    combine_own_slice(current, inputs);
    if (!to_slot()) spread_result(current);
    node_.rendezvous_.meet(run_);
    if (op_.gets_result(node_.rank_)) copy_out(current);
  }
}

void NodesTransport::Reduction::copy_in(const Chunk& chunk) {
  std::byte* const staging =
      node_.staging_[static_cast<std::size_t>(node_.local_rank_)] + chunk.half;
  for (std::size_t p = 0; p < op_.parts.size(); ++p) {
    const std::int64_t place = static_cast<std::int64_t>(p) * chunk_numel_;
    copy_bytes(staging + place * op_.element_bytes(),
               op_.parts[p].data + chunk.begin * op_.element_bytes(),
               chunk.numel * op_.element_bytes());
  }
}

void NodesTransport::Reduction::copy_out(const Chunk& chunk) {
  copy_bytes(op_.output + chunk.begin * op_.element_bytes(), node_.results_ + chunk.half,
             chunk.numel * op_.element_bytes());
}

// Returns what the own slice is made of, in the order of the final plan.
std::vector<const std::byte*> NodesTransport::Reduction::receive_partials(const Chunk& chunk,
                                                                          MpiTransfers& transfers) {
  const std::int64_t bytes = slice(chunk, node_.rank_).numel() * op_.element_bytes();
  const std::size_t needed = reduction_.inputs.size() * static_cast<std::size_t>(bytes);
  node_.received_.resize(std::max(node_.received_.size(), needed));
  std::byte* free = node_.received_.data();
  std::vector<const std::byte*> inputs;
  for (const NodeInput& input : reduction_.inputs) {
    if (input.node == node_.node_) {
      inputs.push_back(staged(chunk, input.index, node_.rank_));
      continue;
    }
    transfers.receive(node_.layout_.in_charge(input.node, node_.rank_), free, bytes);
    inputs.push_back(free);
    free += bytes;
  }
  return inputs;
}

// A partial that is a source as it stands is sent from where it is staged.
void NodesTransport::Reduction::send_partials(const Chunk& chunk, MpiTransfers& transfers) {
  const NodeLayout& layout = node_.layout_;
  std::vector<int> owners;  // in other nodes, whom this rank serves
  std::size_t needed = 0;
  for (int owner = 0; owner < world_size_; ++owner) {
    if (layout.node_of(owner) == node_.node_) continue;
    if (layout.in_charge(node_.node_, owner) != node_.rank_) continue;
    owners.push_back(owner);
    needed += reduction_.partials.size() *
              static_cast<std::size_t>(slice(chunk, owner).numel() * op_.element_bytes());
  }
  node_.combined_.resize(std::max(node_.combined_.size(), needed));
  std::byte* free = node_.combined_.data();
  for (const int owner : owners) {
    const std::int64_t numel = slice(chunk, owner).numel();
    const std::int64_t bytes = numel * op_.element_bytes();
    for (const NodePartial& partial : reduction_.partials) {
      std::vector<const std::byte*> sources;
      for (const int index : partial.sources) sources.push_back(staged(chunk, index, owner));
      if (sources.size() == 1) {
        transfers.send(owner, sources[0], bytes);
        continue;
      }
      reduce(partial.plan, sources, {&free, 1}, numel);
      transfers.send(owner, free, bytes);
      free += bytes;
    }
  }
}

void NodesTransport::Reduction::combine_own_slice(const Chunk& chunk,
                                                  const std::vector<const std::byte*>& inputs) {
  const ElementRange own = slice(chunk, node_.rank_);
  std::byte* const output = to_slot()
                                ? op_.output + chunk.begin * op_.element_bytes()
                                : node_.results_ + chunk.half + own.begin * op_.element_bytes();
  reduce(reduction_.final_plan, inputs, {&output, 1}, own.numel());
}

// Each node's results come together in its shared memory.
void NodesTransport::Reduction::spread_result(const Chunk& chunk) {
  const NodeLayout& layout = node_.layout_;
  MpiTransfers transfers(node_.link_, node_.flat_.peers(), run_);
  const auto place = [&](int owner) {
    return node_.results_ + chunk.half + slice(chunk, owner).begin * op_.element_bytes();
  };
  const auto bytes = [&](int owner) { return slice(chunk, owner).numel() * op_.element_bytes(); };
  for (int owner = 0; owner < world_size_; ++owner) {
    if (layout.node_of(owner) == node_.node_ || !node_gets_result(node_.node_)) continue;
    if (layout.in_charge(node_.node_, owner) != node_.rank_) continue;
    transfers.receive(owner, place(owner), bytes(owner));
  }
  for (int node = 0; node < layout.nodes(); ++node) {
    if (node == node_.node_ || !node_gets_result(node)) continue;
    transfers.send(layout.in_charge(node, node_.rank_), place(node_.rank_), bytes(node_.rank_));
  }
  transfers.finish();
}

NodesTransport::NodesTransport(MpiLink link, NodeLayout layout, NodeGroup group, int rank)
    : link_(link),
      layout_(std::move(layout)),
      rank_(rank),
      node_(layout_.node_of(rank)),
      local_rank_(layout_.local_rank_of(rank)),
      flat_(std::move(link)),
      memory_(std::make_shared<SymmetricMemory>(std::move(group), local_rank_)),
      rendezvous_(*memory_, local_rank_),
      staging_(memory_->allocate_copies(2 * kNodeStagingBytes)),
      results_(memory_->allocate_shared(2 * kNodeStagingBytes)),
      log_of_survivors_(memory_->reserve_shared(SymmetricMemory::log_bytes())) {}

NodesTransport::~NodesTransport() {
  rendezvous_.leave();
  if (!flat_.leave()) return;
  keep_for_ever(std::move(memory_));
  keep_for_ever(std::move(received_));
  keep_for_ever(std::move(combined_));
}

void NodesTransport::run(const OperationRun& run) {
  rendezvous_.record(run);
  const Flow flow = run.operation().flow();
  const bool reduces =
      flow == Flow::kReduceToAll || flow == Flow::kReduceToRoot || flow == Flow::kReduceToSlot;
  if (!reduces) return flat_.run(run);
  flat_.greet(run);
  Reduction(*this, run).run_all();
  flat_.end(run);
}

void NodesTransport::give_up(const std::exception_ptr& error) noexcept {
  rendezvous_.give_up(reason_of(error));
  flat_.give_up(error);
}

// Once all ranks are known to be in the same call the node's first one reserves, and says where in
// one meeting more.
std::uint64_t NodesTransport::reserve_logs(const OperationRun& run, std::size_t groups) {
  flat_.greet(run);
  Announcement& announced = rendezvous_.new_announcement();
  if (local_rank_ == 0) announced.output_location = memory_->reserve_logs(groups);
  rendezvous_.meet(run);
  return rendezvous_.announcement(0).output_location;
}

std::unique_ptr<Transport> NodesTransport::split(const OperationRun& run,
                                                 const std::vector<std::vector<int>>& parts,
                                                 int own) {
  const std::uint64_t logs = reserve_logs(run, parts.size());
  std::optional<MpiLink> link = flat_.make_link(run, parts, own);
  if (!link) return nullptr;
  const auto part = static_cast<std::size_t>(own);
  return transport_of(parts[part], std::move(*link), SymmetricMemory::log_at(logs, part));
}

WindowMemory NodesTransport::open_window(const OperationRun& run, std::int64_t bytes) {
  NodeGroup group = memory_->group();
  group.log_offset = reserve_logs(run, 1);
  const auto memory = std::make_shared<SymmetricMemory>(std::move(group), local_rank_);
  const std::vector<std::byte*> copies = memory->allocate_copies(bytes);
  const std::shared_ptr<std::byte> own(copies[static_cast<std::size_t>(local_rank_)],
                                       [memory](std::byte*) {});
  const std::vector<int>& ranks = layout_.ranks_of(node_);
  std::vector<const std::byte*> mapped(static_cast<std::size_t>(layout_.world_size()));
  for (std::size_t i = 0; i < ranks.size(); ++i) {
    mapped[static_cast<std::size_t>(ranks[i])] = copies[i];
  }
  return {own, std::move(mapped), flat_.open_reader(run, own)};
}

NextGeneration NodesTransport::regroup(const OperationRun& run, Regrouping how) {
  rendezvous_.record(run);
  MpiRegroup::Remnant remnant = flat_.regroup_link(run, how);
  auto transport = transport_of(remnant.ranks, std::move(remnant.link), log_of_survivors_);
  const int rank = place_in(remnant.ranks, rank_);
  return {std::move(transport), std::move(remnant.ranks), rank};
}

std::unique_ptr<Transport> NodesTransport::transport_of(const std::vector<int>& part, MpiLink link,
                                                        std::uint64_t log_offset) const {
  NodeLayout layout = layout_.of_part(part);
  NodeGroup group = local_group(part, log_offset);
  const int rank = place_in(part, rank_);
  if (layout.nodes() == 1) return std::make_unique<ShmTransport>(std::move(group), rank);
  if (layout.nodes() == static_cast<int>(part.size())) {
    return std::make_unique<MpiTransport>(std::move(link));
  }
  return std::make_unique<NodesTransport>(std::move(link), std::move(layout), std::move(group),
                                          rank);
}

// The ranks of this node among those of the part, under the names that they have there.
NodeGroup NodesTransport::local_group(const std::vector<int>& part,
                                      std::uint64_t log_offset) const {
  const NodeGroup& whole = memory_->group();
  NodeGroup group{whole.memory, {}, log_offset};
  for (std::size_t r = 0; r < part.size(); ++r) {
    if (layout_.node_of(part[r]) != node_) continue;
    group.slots.push_back(whole.slots[static_cast<std::size_t>(layout_.local_rank_of(part[r]))]);
    group.names.push_back(static_cast<int>(r));
  }
  return group;
}

std::shared_ptr<std::byte> NodesTransport::allocate_symmetric(std::int64_t bytes) {
  std::byte* own = memory_->allocate_copies(bytes)[static_cast<std::size_t>(local_rank_)];
  return {own, [memory = memory_](std::byte*) {}};
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
