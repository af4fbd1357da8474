// The measurement of a library that can be told to be wrong.
#include "suite.h"

#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster::bench {
namespace {

using ::testing::HasSubstr;

// A world of one: an all-reduce has nothing to do, which this one may do wrong in one element once
// there have been `good_runs`.
class LonelyLibrary : public Library {
 public:
  explicit LonelyLibrary(int good_runs = 1 << 30) : Library(0, 1), good_runs_(good_runs) {}

  std::string name() const override { return "lonely"; }
  std::string transport() const override { return "none"; }
  at::Tensor allocate(const std::string&, std::int64_t bytes) override {
    return at::zeros({bytes}, at::kByte);
  }
  std::function<void()> bind(const CaseName& name, const Buffers& buffers) override {
    if (name.operation != "all_reduce") not_offered(*this, name, "choose all_reduce");
    return [this, buffers] {
      if (buffers.input.data_ptr() != buffers.output.data_ptr()) {
        buffers.output.copy_(buffers.input);
      }
      if (++runs_ > good_runs_)
        static_cast<std::byte*>(buffers.output.data_ptr())[1] ^= std::byte{1};
    };
  }
  void barrier() override {}
  void maximize(std::span<double>) override {}

 private:
  int good_runs_;
  int runs_ = 0;
};

BenchPlan small_plan(const std::string& operations) {
  BenchOptions options;
  options.operations = operations;
  options.places = "in,out";
  options.max_bytes = "64";
  options.factor = 8;
  options.seconds = 1e-4;
  return make_plan(options);
}

TEST(Suite, RightResultsPass) {
  LonelyLibrary library;
  EXPECT_EQ(run_suite(library, small_plan("all_reduce"), nullptr, nullptr), 0);
}

TEST(Suite, AWrongElementIsAWrongRow) {
  LonelyLibrary library(0);
  EXPECT_EQ(run_suite(library, small_plan("all_reduce"), nullptr, nullptr), 4);
}

// Checked at the end too: here the first size is right at first.
TEST(Suite, ResultsThatGoWrongOnTheWayAreSeen) {
  LonelyLibrary library(20);
  EXPECT_EQ(run_suite(library, small_plan("all_reduce"), nullptr, nullptr), 4);
}

TEST(Suite, WhatTheLibraryLacksIsLeftOutUnlessNothingIsLeft) {
  LonelyLibrary library;
  EXPECT_EQ(run_suite(library, small_plan("broadcast,all_reduce"), nullptr, nullptr), 0);
  EXPECT_THROW(run_suite(library, small_plan("broadcast"), nullptr, nullptr), ConfigError);
}

TEST(Report, ARowSaysWhatWasMeasured) {
  const Result result{.library = "lonely",
                      .transport = "none",
                      .ranks = 4,
                      .name = {"all_reduce", "sum", "float32", "ordinary", "in"},
                      .bytes = 1 << 20,
                      .bus_factor = 1.5,
                      .plan = {10, 21},
                      .timing = {1e-3, 9e-4, 2e-3},
                      .bare_median_s = 5e-4,
                      .wrong = 3};
  const Json json = to_json(result);
  EXPECT_DOUBLE_EQ(json["algorithm_gb_s"].get<double>(), 1.048576);
  EXPECT_DOUBLE_EQ(json["bus_gb_s"].get<double>(), 1.572864);
  EXPECT_DOUBLE_EQ(json["of_bare"].get<double>(), 0.5);
  EXPECT_EQ(json["wrong"], 3);
  EXPECT_THAT(table_row(result), HasSubstr("1MiB"));
  EXPECT_THAT(table_row(result), HasSubstr("50%"));
  EXPECT_EQ(table_head().size(), table_row(result).size() + 1);  // columns stand below each other
}

TEST(Report, AFileThatCannotBeWrittenIsNamed) {
  EXPECT_THROW(Report("/nonexistent/rows.json"), ConfigError);
  EXPECT_THROW(empty_json_file("/nonexistent/rows.json"), ConfigError);
}

}  // namespace
}  // namespace muster::bench
