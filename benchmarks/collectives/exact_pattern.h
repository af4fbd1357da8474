// Inputs whose results are known exactly: short periods of small whole numbers, a different one on
// each rank.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_EXACT_PATTERN_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_EXACT_PATTERN_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <vector>

namespace muster::bench {

/// Elements after which a pattern begins again. A prime, so that a block which landed in a wrong
/// place does not match by accident.
inline constexpr std::int64_t kPatternPeriod = 1021;

/// One period, float64 [kPatternPeriod], of values 1 to 4. Sums over 31 ranks fit into int8.
at::Tensor rank_pattern(int rank);

/// The names that `--reductions` knows.
const std::vector<std::string>& reduction_names();

/// What a reduction makes of all ranks' patterns, float64 [kPatternPeriod]. `reduction` is one of
/// reduction_names().
at::Tensor combined_pattern(const std::string& reduction, int world_size);

/// Elements [begin, begin + numel) of a result, and the period that they must repeat, beginning
/// with its element `phase`.
struct ExpectedRange {
  std::int64_t begin = 0;
  std::int64_t numel = 0;
  at::Tensor pattern;
  std::int64_t phase = 0;
};

/// Repeats `pattern` over all of `tensor`, which is contiguous, of any dtype that holds the values.
void fill_with_pattern(const at::Tensor& tensor, const at::Tensor& pattern);

/// The number of elements of `tensor` that differ from what is expected in any bit. With nothing
/// expected `tensor` may be undefined.
std::int64_t count_wrong(const at::Tensor& tensor, const std::vector<ExpectedRange>& expected);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_EXACT_PATTERN_H_
