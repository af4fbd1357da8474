// Errors and checks: frozen exit codes, kinds, and messages that hold both values.
#include "muster/base/error.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>
#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/check.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

template <typename E>
void expect_error(const char* kind, int exit_code) {
  const E error("expected, found, do");
  EXPECT_STREQ(error.kind(), kind);
  EXPECT_EQ(static_cast<int>(error.exit_code()), exit_code) << kind;
  EXPECT_STREQ(error.what(), "expected, found, do");
}

template <typename Body>
std::string failed_check(Body body) {
  try {
    body();
  } catch (const InternalError& e) {
    return e.what();
  }
  return "";
}

TEST(Error, KindsAndExitCodesAreFrozen) {
  expect_error<UserError>("UserError", 1);
  expect_error<ConfigError>("ConfigError", 64);
  expect_error<DataError>("DataError", 65);
  expect_error<InternalError>("InternalError", 70);
  expect_error<CheckpointError>("CheckpointError", 74);
  expect_error<PeerLost>("PeerLost", 75);
  expect_error<Timeout>("Timeout", 75);
  expect_error<Mismatch>("Mismatch", 76);
  EXPECT_EQ(static_cast<int>(ExitCode::kSuccess), 0);
  EXPECT_EQ(static_cast<int>(ExitCode::kPreempted), 79);
  EXPECT_EQ(static_cast<int>(ExitCode::kInterrupted), 130);
}

TEST(Error, ErrnoTextHoldsTheName) {
  EXPECT_EQ(errno_text(ENOSPC), "No space left on device (ENOSPC)");
  EXPECT_EQ(errno_text(99999), "errno 99999");
}

TEST(Check, MessageHoldsTextBothValuesPlaceAndAddition) {
  const int found = 3;
  const std::string message = failed_check([&] { MUSTER_CHECK_EQ(found, 4) << "of rank " << 7; });
  EXPECT_THAT(message, HasSubstr("found == 4 (3 against 4); of rank 7"));
  EXPECT_THAT(message, HasSubstr("error_test.cc:"));
}

TEST(Check, PlainConditionNamesItself) {
  const std::string message = failed_check([] { MUSTER_CHECK(1 > 2) << "why"; });
  EXPECT_THAT(message, HasSubstr("1 > 2; why"));
}

TEST(Check, EveryComparisonHoldsAndFails) {
  const auto passes = [](auto body) { return failed_check(body).empty(); };
  EXPECT_TRUE(passes([] { MUSTER_CHECK_EQ(1, 1); }));
  EXPECT_TRUE(passes([] { MUSTER_CHECK_NE(1, 2); }));
  EXPECT_TRUE(passes([] { MUSTER_CHECK_LT(1, 2); }));
  EXPECT_TRUE(passes([] { MUSTER_CHECK_LE(2, 2); }));
  EXPECT_TRUE(passes([] { MUSTER_CHECK_GT(2, 1); }));
  EXPECT_TRUE(passes([] { MUSTER_CHECK_GE(2, 2); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_EQ(1, 2); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_NE(1, 1); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_LT(2, 2); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_LE(3, 2); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_GT(2, 2); }));
  EXPECT_FALSE(passes([] { MUSTER_CHECK_GE(1, 2); }));
}

TEST(Check, EvaluatesEachOperandOnce) {
  int calls = 0;
  const auto next = [&calls] { return ++calls; };
  const std::string message = failed_check([&] { MUSTER_CHECK_EQ(next(), 0); });
  EXPECT_EQ(calls, 1);
  EXPECT_THAT(message, HasSubstr("(1 against 0)"));
}

TEST(Check, IntegersCompareByValueAcrossSigns) {
  const std::vector<int> empty;
  EXPECT_EQ(failed_check([&] { MUSTER_CHECK_LT(-1, empty.size()); }), "");
  EXPECT_NE(failed_check([] { MUSTER_CHECK_EQ(std::int64_t{-1}, ~std::uint64_t{0}); }), "");
}

TEST(Check, TextsCompare) {
  const std::string message = failed_check([] { MUSTER_CHECK_EQ(std::string("sum"), "max"); });
  EXPECT_THAT(message, HasSubstr("(sum against max)"));
}

TEST(Check, LeavesAnElseToItsIf) {
  bool else_taken = false;
  if (else_taken)
    MUSTER_CHECK(true);
  else
    else_taken = true;
  EXPECT_TRUE(else_taken);
}

}  // namespace
}  // namespace muster
