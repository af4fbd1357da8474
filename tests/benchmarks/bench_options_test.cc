// Lists, sizes and what is said of wrong ones.
#include "bench_options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"
#include "operation_shapes.h"

namespace muster::bench {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::string problem_with(const BenchOptions& options) {
  try {
    make_plan(options);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

TEST(BenchOptions, TheDefaultsAreASweepFrom8BytesTo256MiB) {
  const BenchPlan plan = make_plan({});
  EXPECT_THAT(plan.ranks, ElementsAre(2));
  EXPECT_EQ(plan.sizes_bytes.size(), 26u);
  EXPECT_EQ(plan.sizes_bytes.front(), 8);
  EXPECT_EQ(plan.sizes_bytes.back(), 256 << 20);
}

TEST(BenchOptions, SizesEndAtTheLargest) {
  BenchOptions options;
  options.min_bytes = "1KiB";
  options.max_bytes = "100K";
  options.factor = 8;
  EXPECT_THAT(make_plan(options).sizes_bytes, ElementsAre(1024, 8192, 65536));
}

TEST(BenchOptions, EveryCombinationIsACase) {
  BenchOptions options;
  options.operations = "all_reduce,all_gather,barrier";
  options.reductions = "sum,max";
  options.dtypes = "float32,int64";
  options.places = "in,out";
  // 2 reductions x 2 dtypes x 2 places, 2 x 2, and one barrier.
  EXPECT_EQ(make_plan(options).cases.size(), 8u + 4u + 1u);
}

TEST(BenchOptions, WrongOnesAreNamed) {
  EXPECT_THAT(problem_with({.operations = "all_redce"}), HasSubstr("did you mean all_reduce?"));
  EXPECT_THAT(problem_with({.operations = "all_reduce,"}), HasSubstr("leave no name empty"));
  EXPECT_THAT(problem_with({.reductions = "som"}), HasSubstr("found 'som'"));
  EXPECT_THAT(problem_with({.dtypes = "float31"}), HasSubstr("found 'float31'"));
  EXPECT_THAT(problem_with({.memory = "pinned"}), HasSubstr("--memory"));
  EXPECT_THAT(problem_with({.ranks = "2,0"}), HasSubstr("--ranks"));
  EXPECT_THAT(problem_with({.factor = 1}), HasSubstr("--factor"));
  EXPECT_THAT(problem_with({.min_bytes = "2M", .max_bytes = "1M"}), HasSubstr("--max-bytes"));
  EXPECT_THAT(problem_with({.warmup = 0}), HasSubstr("--warmup"));
  EXPECT_THAT(problem_with({.seconds = 0}), HasSubstr("--seconds"));
}

TEST(BenchOptions, AllProblemsAreNamedAtOnce) {
  const std::string problems = problem_with({.dtypes = "float31", .min_bytes = "many"});
  EXPECT_THAT(problems, HasSubstr("--min-bytes"));
  EXPECT_THAT(problems, HasSubstr("--dtypes"));
}

TEST(ParseBytes, UnitsArePowersOf1024) {
  EXPECT_EQ(parse_bytes("8", "--f"), 8);
  EXPECT_EQ(parse_bytes("64K", "--f"), 65536);
  EXPECT_EQ(parse_bytes("64KiB", "--f"), 65536);
  EXPECT_EQ(parse_bytes("3MiB", "--f"), 3 << 20);
  EXPECT_EQ(parse_bytes("1G", "--f"), 1 << 30);
  for (const char* wrong : {"", "K", "8B", "8KB", "8Ki", "-8", "0", "1.5M", "99999999999G"}) {
    EXPECT_THROW(parse_bytes(wrong, "--f"), ConfigError) << wrong;
  }
}

TEST(BytesText, IsShort) {
  EXPECT_EQ(bytes_text(0), "0");
  EXPECT_EQ(bytes_text(1000), "1000");
  EXPECT_EQ(bytes_text(64 << 10), "64KiB");
  EXPECT_EQ(bytes_text(std::int64_t{3} << 30), "3GiB");
}

// The formulas of nccl-tests' doc/PERFORMANCE.md.
TEST(OperationShapes, BusFactorsAreThoseOfNcclTests) {
  const auto factor = [](const char* name) { return operation_shape(name).bus_factor(4); };
  EXPECT_EQ(factor("all_reduce"), 1.5);
  EXPECT_EQ(factor("reduce_scatter"), 0.75);
  EXPECT_EQ(factor("all_gather"), 0.75);
  EXPECT_EQ(factor("all_to_all"), 0.75);
  EXPECT_EQ(factor("scatter"), 0.75);
  EXPECT_EQ(factor("gather"), 0.75);
  EXPECT_EQ(factor("broadcast"), 1);
  EXPECT_EQ(factor("reduce"), 1);
  EXPECT_EQ(factor("send_recv"), 1);
}

}  // namespace
}  // namespace muster::bench
