// Agreement among ranks that die at any moment.
#include "flood.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <optional>
#include <vector>

namespace muster::internal {
namespace {

/// In `round`, after its words have reached the ranks in the bits of `reached`.
struct Death {
  int round = 0;
  std::uint32_t reached = 0;
};
using Deaths = std::vector<std::optional<Death>>;  // by rank

bool reaches(const std::optional<Death>& death, int round, int to) {
  if (!death || round < death->round) return true;
  return round == death->round && (death->reached >> to & 1) != 0;
}

void run_round(std::vector<Flood>& ranks, const Deaths& deaths, int round) {
  const auto size = static_cast<int>(ranks.size());
  for (int to = 0; to < size; ++to) {
    Flood& flood = ranks[static_cast<std::size_t>(to)];
    const std::vector<int> others = flood.others();
    for (const int from : others) {
      const auto rank = static_cast<std::size_t>(from);
      if (reaches(deaths[rank], round, to)) {
        flood.hear(ranks[rank].told());
      } else {
        flood.lose(from);
      }
    }
  }
  for (Flood& flood : ranks) flood.end_round();
}

// Those that live agree, and know each other's gifts.
void expect_agreement(const Deaths& deaths) {
  std::vector<Flood> ranks;
  const auto size = static_cast<int>(deaths.size());
  for (int r = 0; r < size; ++r) ranks.emplace_back(size, r, 10 + r);
  for (int round = 0; !ranks[0].ended(); ++round) run_round(ranks, deaths, round);
  const Flood* first = nullptr;
  for (int r = 0; r < size; ++r) {
    const auto rank = static_cast<std::size_t>(r);
    if (deaths[rank]) continue;
    if (first == nullptr) first = &ranks[rank];
    ASSERT_EQ(ranks[rank].gifts(), first->gifts());
    ASSERT_EQ(first->gifts()[rank], 10 + r);
  }
}

/// Of ranks from `rank` on: lives, or dies in any round having reached any others.
void try_all_deaths(Deaths& deaths, std::size_t rank) {
  if (rank == deaths.size()) return expect_agreement(deaths);
  try_all_deaths(deaths, rank + 1);
  const auto size = static_cast<int>(deaths.size());
  for (int round = 0; round < size - 1; ++round) {
    for (std::uint32_t reached = 0; reached < 1u << size; ++reached) {
      if ((reached >> rank & 1) != 0) continue;  // a rank does not tell itself
      deaths[rank] = Death{round, reached};
      try_all_deaths(deaths, rank + 1);
      if (::testing::Test::HasFatalFailure()) return;
    }
  }
  deaths[rank].reset();
}

TEST(FloodTest, ThoseWhoAreLeftAgreeWhoeverDiesWhenever) {
  for (const std::size_t ranks : {1u, 2u, 3u, 4u}) {
    Deaths deaths(ranks);
    try_all_deaths(deaths, 0);
  }
}

TEST(FloodTest, WhoDiedBeforeAWordIsOut) {
  Flood first(3, 0, 7), last(3, 2, 9);
  for (; !first.ended(); first.end_round(), last.end_round()) {
    first.lose(1);
    last.lose(1);
    EXPECT_EQ(first.others(), std::vector<int>{2});
    first.hear(last.told());
    last.hear(first.told());
  }
  EXPECT_EQ(first.gifts(), (std::vector<int>{7, 0, 9}));
  EXPECT_EQ(last.gifts(), first.gifts());
}

}  // namespace
}  // namespace muster::internal
