// Which transport a world gets, and the messages when none fits.
#include "muster/collectives/world.h"

#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster {
namespace {

using ::testing::HasSubstr;

std::string refusal(const RankEnv& env, const std::string& transport) {
  try {
    World::create(env, {.transport = transport});
  } catch (const ConfigError& error) {
    return error.what();
  }
  ADD_FAILURE() << "nothing was refused";
  return "";
}

RankEnv two_ranks(LaunchedBy launched_by) {
  RankEnv env;
  env.launched_by = launched_by;
  env.world_size = 2;
  env.local_world_size = 2;
  return env;
}

TEST(World, IsASingleRankWithoutALauncher) {
  World world = World::create(RankEnv{}, {});
  EXPECT_EQ(world.transport(), "single");
  EXPECT_EQ(world.communicator().world_size(), 1);
  at::Tensor tensor = at::full({3}, 2.0);
  world.communicator().all_reduce(tensor).wait();
  EXPECT_EQ(tensor[0].item<float>(), 2.0f);
}

TEST(World, CanBeMoved) {
  World world = World::create(RankEnv{}, {});
  World moved = std::move(world);
  moved.communicator().barrier().wait();
}

TEST(World, RefusesUnknownTransports) {
  EXPECT_THAT(refusal(RankEnv{}, "pigeon"), HasSubstr("expected auto, shm or mpi, found 'pigeon'"));
}

TEST(World, RefusesMpiWithoutMpirun) {
  EXPECT_THAT(refusal(two_ranks(LaunchedBy::kMuster), "mpi"), HasSubstr("found muster run"));
}

TEST(World, RefusesSharedMemoryBetweenNodes) {
  RankEnv env = two_ranks(LaunchedBy::kMpi);
  env.local_world_size = 1;
  EXPECT_THAT(refusal(env, "shm"), HasSubstr("expected all 2 ranks on this node"));
}

TEST(World, NeedsTheLaunchersMemory) {
  EXPECT_THAT(refusal(two_ranks(LaunchedBy::kMuster), "auto"), HasSubstr("MUSTER_NODE_MEMORY_FD"));
}

}  // namespace
}  // namespace muster
