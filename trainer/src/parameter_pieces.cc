// Cutting parameters at blocks.
#include "parameter_pieces.h"

#include <algorithm>
#include <numeric>

#include "optimizer_kernels.h"

namespace muster::internal {

ParameterPieces::ParameterPieces(const std::vector<FlatRange>& parameters) {
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    first_.push_back(pieces_.size());
    const FlatRange parameter = parameters[i];
    for (std::int64_t at = parameter.begin; at < parameter.end;) {
      const std::int64_t end = std::min(parameter.end, (at / kBlockNumel + 1) * kBlockNumel);
      pieces_.push_back({i, {at, end}});
      at = end;
    }
  }
  first_.push_back(pieces_.size());
  by_place_.resize(pieces_.size());
  std::iota(by_place_.begin(), by_place_.end(), std::size_t{0});
  std::sort(by_place_.begin(), by_place_.end(), [&](std::size_t a, std::size_t b) {
    return pieces_[a].range.begin < pieces_[b].range.begin;
  });
}

std::span<const std::size_t> ParameterPieces::within(FlatRange range) const {
  const auto first_from = [&](std::int64_t position) {
    return std::partition_point(by_place_.begin(), by_place_.end(), [&](std::size_t index) {
      return pieces_[index].range.begin < position;
    });
  };
  return {first_from(range.begin), first_from(range.end)};
}

std::vector<double> ParameterPieces::sum_by_parameter(std::span<const double> by_piece) const {
  std::vector<double> sums;
  for (std::size_t i = 0; i + 1 < first_.size(); ++i) {
    sums.push_back(tree_sum(by_piece.data() + first_[i],
                            static_cast<std::int64_t>(first_[i + 1] - first_[i])));
  }
  return sums;
}

}  // namespace muster::internal
