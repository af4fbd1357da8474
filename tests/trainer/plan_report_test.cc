// How many machines a world needs, and what the launcher asks.
#include "plan_report.h"

#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

TEST(PlanReport, RanksAreNotCutOverMachines) {
  EXPECT_EQ(machines_needed(10, 4, 40), 1);
  EXPECT_EQ(machines_needed(10, 4, 39), 2);
  EXPECT_EQ(machines_needed(10, 4, 19), 4);
  EXPECT_EQ(machines_needed(10, 5, 29), 3);
  EXPECT_EQ(machines_needed(10, 1, 9), 0);
}

TEST(PlanReport, ABrokenRequestIsRefused) {
  const PlanRequest request = PlanRequest::from_json(R"({"world_sizes":[1,3],"memory_bytes":7})");
  EXPECT_EQ(request.world_sizes, (std::vector<int>{1, 3}));
  EXPECT_EQ(request.memory_bytes, 7);
  for (const char* text : {"", "{}", R"({"world_sizes":3,"memory_bytes":7})"}) {
    EXPECT_THROW(PlanRequest::from_json(text), Error) << text;
  }
}

}  // namespace
}  // namespace muster::internal
