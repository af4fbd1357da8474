// The command line of every benchmark of collectives.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_BENCH_OPTIONS_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_BENCH_OPTIONS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "library.h"
#include "muster/base/options.h"

namespace muster::bench {

struct BenchOptions {
  std::string ranks = "2";
  std::string transport = "auto";
  double timeout_s = 60;
  std::string operations = "all_reduce,canonical_all_reduce";
  std::string reductions = "sum";
  std::string dtypes = "float32";
  std::string memory = "symmetric";
  std::string places = "in";
  std::string min_bytes = "8";
  std::string max_bytes = "256MiB";
  std::int64_t factor = 2;
  std::int64_t warmup = 5;
  double seconds = 0.2;
  bool bare_loop = true;
  std::string json = {};

  /// Adds the flags to `set`; this must outlive it.
  void bind(OptionSet& set);
};

/// The options, read.
struct BenchPlan {
  std::vector<int> ranks;
  std::vector<std::int64_t> sizes_bytes;
  std::vector<CaseName> cases;
  std::int64_t warmup = 5;
  double case_s = 0.2;
  bool bare_loop = true;
};

/// Throws ConfigError listing every problem.
BenchPlan make_plan(const BenchOptions& options);

/// "8", "64K", "64KiB", "256M", "1GiB": powers of 1,024. Throws ConfigError naming `flag`.
std::int64_t parse_bytes(const std::string& text, const std::string& flag);
/// "64KiB" where it is a whole number of such units, else "1000".
std::string bytes_text(std::int64_t bytes);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_BENCH_OPTIONS_H_
