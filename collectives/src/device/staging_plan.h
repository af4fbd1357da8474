// How an operation is carried out in pieces on copies of its parts. Pure.
#ifndef MUSTER_COLLECTIVES_SRC_DEVICE_STAGING_PLAN_H_
#define MUSTER_COLLECTIVES_SRC_DEVICE_STAGING_PLAN_H_

#include <cstddef>
#include <cstdint>
#include <vector>

#include "operation.h"

namespace muster::internal {

struct StagedCopy {
  std::byte* to = nullptr;
  const std::byte* from = nullptr;
  std::int64_t bytes = 0;
};

/// Piece k is the elements range(k) of every part. In a staging area its copies lie one after
/// another, each with room for as many elements as the piece has: first the parts, then what is
/// pulled from other ranks. All ranks cut alike.
class StagingPlan {
 public:
  /// `largest_part` is the operation's, or what the ranks agreed on where that is not known.
  /// `area_bytes` is the size of a rank's staging area, the same on all ranks. `op` outlives this.
  StagingPlan(const Operation& op, int rank, int world_size, std::int64_t largest_part,
              std::int64_t area_bytes);

  std::int64_t pieces() const { return pieces_; }
  ElementRange range(std::int64_t k) const;

  /// Where part `part` of piece k lies in any rank's area.
  std::int64_t part_offset_bytes(std::int64_t k, int part) const;

  /// What has to be copied into `area` before piece k: parts that are combined, or pulled by other
  /// ranks.
  std::vector<StagedCopy> copies_in(std::int64_t k, std::byte* area) const;

  /// Piece k as an operation of its own, on `area`. What it leaves for copies_out() lies there.
  /// Nothing is pulled from the own rank.
  Operation on_area(std::int64_t k, std::byte* area) const;

  /// What has to be copied to the caller's memory after on_area().
  std::vector<StagedCopy> copies_out(std::int64_t k, std::byte* area) const;

  /// What the rank takes from itself: once, for the whole operation.
  std::vector<StagedCopy> own_copies() const;

 private:
  std::int64_t in_piece(std::int64_t k, std::int64_t part_numel) const;
  std::int64_t pull_offset_bytes(std::int64_t k, int pull) const;
  int result_part() const;

  const Operation& op_;
  const int rank_;
  std::int64_t largest_part_;
  std::int64_t piece_numel_ = 0;
  std::int64_t pieces_ = 0;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_DEVICE_STAGING_PLAN_H_
