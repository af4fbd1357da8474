// Cutting, and the places in the staging area.
#include "device/staging_plan.h"

#include <algorithm>

namespace muster::internal {
namespace {

// Of the rank that pulls most.
int most_pulls(const Operation& op, int world_size) {
  switch (op.signature.kind) {
    case OperationKind::kAllGather:
    case OperationKind::kGather:
    case OperationKind::kAllToAll:
      return world_size;
    case OperationKind::kBroadcast:
    case OperationKind::kScatter:
      return 1;
    default:
      return 0;
  }
}

}  // namespace

StagingPlan::StagingPlan(const Operation& op, int rank, int world_size, std::int64_t largest_part,
                         std::int64_t area_bytes)
    : op_(op), rank_(rank), largest_part_(largest_part) {
  if (largest_part == 0) return;
  const int slots = op.most_parts(world_size) + most_pulls(op, world_size);
  piece_numel_ = std::min(largest_part, staged_numel(area_bytes, slots, op.element_bytes()));
  pieces_ = (largest_part + piece_numel_ - 1) / piece_numel_;
}

ElementRange StagingPlan::range(std::int64_t k) const {
  return {k * piece_numel_, std::min(largest_part_, (k + 1) * piece_numel_)};
}

// How many elements of a part are in the piece.
std::int64_t StagingPlan::in_piece(std::int64_t k, std::int64_t part_numel) const {
  const ElementRange piece = range(k);
  return std::clamp<std::int64_t>(part_numel - piece.begin, 0, piece.numel());
}

std::int64_t StagingPlan::part_offset_bytes(std::int64_t k, int part) const {
  return part * range(k).numel() * op_.element_bytes();
}

std::int64_t StagingPlan::pull_offset_bytes(std::int64_t k, int pull) const {
  return part_offset_bytes(k, static_cast<int>(op_.parts.size()) + pull);
}

// Where a combination is made, in the place of one of its own sources.
int StagingPlan::result_part() const { return op_.flow() == Flow::kReduceToSlot ? rank_ : 0; }

std::vector<StagedCopy> StagingPlan::copies_in(std::int64_t k, std::byte* area) const {
  std::vector<bool> needed(op_.parts.size(), op_.flow() != Flow::kPull);
  for (const Push& push : op_.pushes) needed[static_cast<std::size_t>(push.part)] = true;
  std::vector<StagedCopy> copies;
  for (std::size_t p = 0; p < op_.parts.size(); ++p) {
    const std::int64_t numel = in_piece(k, op_.parts[p].numel);
    if (!needed[p] || numel == 0) continue;
    copies.push_back({area + part_offset_bytes(k, static_cast<int>(p)),
                      op_.parts[p].data + range(k).begin * op_.element_bytes(),
                      numel * op_.element_bytes()});
  }
  return copies;
}

Operation StagingPlan::on_area(std::int64_t k, std::byte* area) const {
  Operation piece = op_;
  piece.issued = nullptr;
  piece.largest_part = range(k).numel();
  if (op_.flow() != Flow::kPull) piece.signature.numel = range(k).numel();
  for (std::size_t p = 0; p < piece.parts.size(); ++p) {
    piece.parts[p] = {area + part_offset_bytes(k, static_cast<int>(p)),
                      in_piece(k, op_.parts[p].numel)};
  }
  if (op_.output != nullptr) piece.output = area + part_offset_bytes(k, result_part());
  piece.pulls.clear();
  for (std::size_t i = 0; i < op_.pulls.size(); ++i) {
    Pull pull = op_.pulls[i];
    if (pull.from == rank_) continue;
    pull.numel = in_piece(k, pull.numel);
    pull.to = area + pull_offset_bytes(k, static_cast<int>(i));
    piece.pulls.push_back(pull);
  }
  return piece;
}

std::vector<StagedCopy> StagingPlan::copies_out(std::int64_t k, std::byte* area) const {
  const std::int64_t begin_bytes = range(k).begin * op_.element_bytes();
  std::vector<StagedCopy> copies;
  if (op_.output != nullptr) {
    copies.push_back({op_.output + begin_bytes, area + part_offset_bytes(k, result_part()),
                      in_piece(k, op_.signature.numel) * op_.element_bytes()});
  }
  for (std::size_t i = 0; i < op_.pulls.size(); ++i) {
    const Pull& pull = op_.pulls[i];
    const std::int64_t bytes = in_piece(k, pull.numel) * op_.element_bytes();
    if (pull.from == rank_ || bytes == 0) continue;
    copies.push_back(
        {pull.to + begin_bytes, area + pull_offset_bytes(k, static_cast<int>(i)), bytes});
  }
  return copies;
}

std::vector<StagedCopy> StagingPlan::own_copies() const {
  std::vector<StagedCopy> copies;
  for (const Pull& pull : op_.pulls) {
    const std::byte* from =
        pull.from == rank_ ? op_.parts[static_cast<std::size_t>(pull.part)].data : pull.to;
    if (from != pull.to && pull.numel > 0) {
      copies.push_back({pull.to, from, pull.numel * op_.element_bytes()});
    }
  }
  return copies;
}

}  // namespace muster::internal
