// Every operation through World::create, under whatever started this program: muster run, mpirun,
// or nobody. MUSTER_TEST_TRANSPORT picks the transport (auto when unset), and
// MUSTER_TEST_EXPECTED_TRANSPORT says what auto is to come to where it is not shared memory. With
// MUSTER_TEST_DEVICE=staged tensors are those of a device, by way of the host.
#include <ATen/Parallel.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "collectives/lazy_device.h"
#include "collectives/operation_checks.h"
#include "device/staged_transport.h"
#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "queued_communicator.h"

namespace muster::testing {
namespace {

std::string wanted_transport() {
  const char* wanted = std::getenv("MUSTER_TEST_TRANSPORT");
  return wanted == nullptr ? "auto" : wanted;
}

// Over the same ranks, if asked for; else nothing.
std::unique_ptr<Communicator> on_device(Communicator& world) {
  const char* wanted = std::getenv("MUSTER_TEST_DEVICE");
  if (wanted == nullptr || std::string(wanted) != "staged") return nullptr;
  constexpr std::int64_t kHalfBytes = 256 * 1024;  // so that there are several pieces
  const auto device = std::make_shared<LazyDevice>();
  return dynamic_cast<internal::QueuedCommunicator&>(world).on_device(
      at::kCPU, std::chrono::seconds(30),
      [&](std::unique_ptr<internal::Transport> host, const internal::OperationRun&) {
        return std::make_unique<internal::StagedTransport>(std::move(host), device, world.rank(),
                                                           world.world_size(), kHalfBytes);
      });
}

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test
std::string g_transport;

TEST(CollectivesOperations, JoinTheWorldOfTheEnvironment) {
  const RankEnv env = RankEnv::from_environment();
  EXPECT_EQ(g_communicator->rank(), env.rank);
  EXPECT_EQ(g_communicator->world_size(), env.world_size);
}

TEST(CollectivesOperations, UseTheExpectedTransport) {
  const char* expected = std::getenv("MUSTER_TEST_EXPECTED_TRANSPORT");
  const std::string automatic = g_communicator->world_size() == 1 ? "single" : "shm";
  const std::string usual = wanted_transport() == "auto" ? automatic : wanted_transport();
  EXPECT_EQ(g_transport, expected == nullptr ? usual : expected);
}

class GiveExact : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(GiveExact, Results) { check_all_operations(*g_communicator, GetParam()); }

INSTANTIATE_TEST_SUITE_P(CollectivesOperations, GiveExact, ::testing::ValuesIn(kReducibleDtypes),
                         [](const auto& given) { return std::string(c10::toString(given.param)); });

TEST(CollectivesOperations, MoveOtherDtypesToo) {
  check_all_gather(*g_communicator, Memory::kOrdinary, 4097, at::kComplexDouble, false);
  check_broadcast(*g_communicator, Memory::kOrdinary, 4097, at::kComplexDouble);
}

TEST(CollectivesOperations, Split) { check_split(*g_communicator); }
TEST(CollectivesOperations, RunInFlight) { check_asynchronous(*g_communicator); }

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);
  muster::World world = muster::World::create(
      muster::RankEnv::from_environment(),
      {.transport = muster::testing::wanted_transport(), .timeout = std::chrono::seconds(30)});
  const auto device = muster::testing::on_device(world.communicator());
  muster::testing::g_communicator = device ? device.get() : &world.communicator();
  muster::testing::g_transport = world.transport();
  return RUN_ALL_TESTS();
}
