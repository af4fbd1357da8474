// Least recently used, with foresight.
#include "unit_residency.h"

#include <algorithm>
#include <utility>

namespace muster::internal {
namespace {

// Of a way that is remembered; longer ones are only not foreseen to their end.
constexpr std::size_t kMostRecorded = std::size_t{1} << 16;

bool contains(const std::vector<std::size_t>& units, std::size_t unit) {
  return std::find(units.begin(), units.end(), unit) != units.end();
}

}  // namespace

void UnitResidency::begin_pass() {
  if (!recorded_.empty()) way_ = std::exchange(recorded_, {});
  position_ = 0;
}

void UnitResidency::record(std::size_t unit) {
  if ((recorded_.empty() || recorded_.back() != unit) && recorded_.size() < kMostRecorded) {
    recorded_.push_back(unit);
  }
  if (position_ > 0 && way_[position_ - 1] == unit) return;
  auto next = std::find(way_.begin() + static_cast<std::ptrdiff_t>(position_), way_.end(), unit);
  // A way that is gone again from its beginning: an evaluation has no backward pass.
  if (next == way_.end()) next = std::find(way_.begin(), way_.end(), unit);
  if (next != way_.end()) position_ = static_cast<std::size_t>(next - way_.begin()) + 1;
}

std::vector<std::size_t> UnitResidency::expected(const std::vector<std::size_t>& units) const {
  std::vector<std::size_t> next;
  for (std::size_t i = position_; i < way_.size() && next.size() < prefetch_; ++i) {
    if (!contains(units, way_[i]) && !contains(next, way_[i])) next.push_back(way_[i]);
  }
  return next;
}

ResidencyChange UnitResidency::need(const std::vector<std::size_t>& units) {
  for (const std::size_t unit : units) record(unit);
  std::vector<std::size_t> wanted = units;
  for (const std::size_t unit : expected(units)) wanted.push_back(unit);
  ResidencyChange change;
  for (const std::size_t unit : wanted) {
    if (!contains(held_, unit)) change.fetch.push_back(unit);
  }
  std::size_t too_many = held_.size() + change.fetch.size();
  too_many -= std::min(too_many, std::max(prefetch_ + 2, wanted.size()));
  for (const std::size_t unit : held_) {
    if (too_many > 0 && !contains(wanted, unit)) {
      change.drop.push_back(unit);
      --too_many;
    }
  }
  std::erase_if(held_, [&](std::size_t unit) {
    return contains(change.drop, unit) || contains(wanted, unit);
  });
  // Those that the operation needs are the youngest.
  held_.insert(held_.end(), wanted.rbegin(), wanted.rend());
  return change;
}

std::vector<std::size_t> UnitResidency::clear() { return std::exchange(held_, {}); }

}  // namespace muster::internal
