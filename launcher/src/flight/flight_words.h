// Ranks and durations in words. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_FLIGHT_WORDS_H_
#define MUSTER_LAUNCHER_FLIGHT_FLIGHT_WORDS_H_

#include <cstdint>
#include <string>
#include <vector>

namespace muster::launcher {

/// "0, 1, 3", "0-7, 9". Ascending ranks.
std::string rank_list(const std::vector<int>& ranks);

/// "rank 2", "ranks 0, 1, 3". At least one rank.
std::string named_ranks(const std::vector<int>& ranks);

/// "12.3 s", "4.5 ms", "0.7 us".
std::string duration_text(std::int64_t nanoseconds);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_FLIGHT_WORDS_H_
