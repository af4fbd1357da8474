// The world of a test that runs as each rank of a launcher.
#ifndef MUSTER_TESTS_TRAINER_TEST_WORLD_H_
#define MUSTER_TESTS_TRAINER_TEST_WORLD_H_

#include <chrono>
#include <cstdlib>

#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"

namespace muster {

/// Collective. Over the transport that MUSTER_TEST_TRANSPORT names. `timeout` is longer than any
/// rank works before it comes here.
inline World make_test_world(std::chrono::seconds timeout) {
  const char* transport = std::getenv("MUSTER_TEST_TRANSPORT");
  return World::create(
      RankEnv::from_environment(),
      {.transport = transport == nullptr ? "auto" : transport, .timeout = timeout});
}

}  // namespace muster

#endif  // MUSTER_TESTS_TRAINER_TEST_WORLD_H_
