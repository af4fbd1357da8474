// Ranks for a test: forked processes on one node memory, under a watchdog.
#ifndef MUSTER_TESTS_COLLECTIVES_RANK_PROCESSES_H_
#define MUSTER_TESTS_COLLECTIVES_RANK_PROCESSES_H_

#include <chrono>
#include <functional>
#include <memory>
#include <vector>

#include "muster/base/node_memory.h"
#include "muster/collectives/communicator.h"

namespace muster::testing {

/// How a rank's process ended.
struct RankEnd {
  bool exited_well =
      false;       ///< Its body returned, without an exception and without a failed expectation.
  int signal = 0;  ///< That ended it; SIGKILL when the watchdog had to.
};

using RankBody = std::function<void(int rank, Communicator& communicator)>;

/// Runs `body` in `world_size` forked processes that communicate through `node_memory` and returns
/// how they ended. `operation_timeout` is the communicators'. All are killed, and a failure added,
/// when they take longer than `limit`.
std::vector<RankEnd> run_ranks(NodeMemory& node_memory, int world_size,
                               std::chrono::milliseconds operation_timeout, const RankBody& body,
                               std::chrono::seconds limit = std::chrono::seconds(200));

/// The same with a memory of its own and 20 seconds, expecting all ranks to exit well.
void run_ranks(int world_size, const RankBody& body);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_RANK_PROCESSES_H_
