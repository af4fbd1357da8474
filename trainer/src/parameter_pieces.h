// Parameters cut into blocks: what sums over whole parameters are made of, so that they do not
// depend on who owns which blocks. Pure arithmetic.
#ifndef MUSTER_TRAINER_SRC_PARAMETER_PIECES_H_
#define MUSTER_TRAINER_SRC_PARAMETER_PIECES_H_

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "flat_layout.h"

namespace muster::internal {

/// The part of one parameter that lies in one block; never empty.
struct ParameterPiece {
  std::size_t parameter = 0;
  FlatRange range;
  friend bool operator==(const ParameterPiece&, const ParameterPiece&) = default;
};

class ParameterPieces {
 public:
  /// Of parameters by registration, wherever they lie in the flat space.
  explicit ParameterPieces(const std::vector<FlatRange>& parameters);

  std::size_t size() const { return pieces_.size(); }
  /// In the order of registration, then of elements.
  const ParameterPiece& operator[](std::size_t index) const { return pieces_[index]; }
  /// Indices of the pieces in `range`, which is cut between blocks.
  std::span<const std::size_t> within(FlatRange range) const;
  /// Of one number a piece, the sum over each parameter's pieces by the fixed tree (tree_sum).
  std::vector<double> sum_by_parameter(std::span<const double> by_piece) const;

 private:
  std::vector<ParameterPiece> pieces_;
  std::vector<std::size_t> first_;     // [parameter] its first piece, and one behind the last
  std::vector<std::size_t> by_place_;  // indices in the order of the flat space
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PARAMETER_PIECES_H_
