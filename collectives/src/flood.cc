// Merging what ranks know.
#include "flood.h"

#include <algorithm>

namespace muster::internal {

Flood::Flood(int ranks, int rank, int gift)
    : rounds_left_(ranks - 1), known_(static_cast<std::size_t>(ranks)) {
  known_[static_cast<std::size_t>(rank)] = gift;
  told_ = known_;
  for (int r = 0; r < ranks; ++r) {
    if (r != rank) others_.push_back(r);
  }
}

void Flood::hear(const std::vector<int>& known) {
  std::transform(known_.begin(), known_.end(), known.begin(), known_.begin(),
                 [](int ours, int theirs) { return std::max(ours, theirs); });
}

void Flood::lose(int rank) { std::erase(others_, rank); }

void Flood::end_round() {
  told_ = known_;
  --rounds_left_;
}

}  // namespace muster::internal
