// Ranks without a launcher, for programs that start their own.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_OWN_RANKS_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_OWN_RANKS_H_

#include <functional>

#include "muster/base/rank_env.h"

namespace muster::bench {

/// Forks `world_size` processes that end with what `be_rank` returns, and waits for all of them.
/// They end with this process; when one is killed, so are the others. `env` is as under `muster
/// run`, without a control channel. Returns the first exit code that was not 0, or 75 for a rank
/// that was killed. Requires that this process has one thread.
int run_own_ranks(int world_size, const std::function<int(const RankEnv& env)>& be_rank);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_OWN_RANKS_H_
