// Every operation of a communicator is in its rank's flight record, with its course.
#include <ATen/ops/zeros.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "collectives/lazy_device.h"
#include "device/staged_transport.h"
#include "flight_call.h"
#include "muster/base/error.h"
#include "muster/base/flight_log.h"
#include "muster/collectives/world.h"
#include "operation_queue.h"
#include "queued_communicator.h"

namespace muster::internal {
namespace {

namespace fs = std::filesystem;

class FlightRecordingTest : public ::testing::Test {
 protected:
  FlightRecordingTest() {
    std::string pattern = (fs::temp_directory_path() / "muster-flight-XXXXXX").string();
    env_.flight_directory = mkdtemp(pattern.data());
  }
  ~FlightRecordingTest() override { fs::remove_all(env_.flight_directory); }

  FlightLog read() const {
    return read_flight_log(fs::path(env_.flight_directory) / "flight-rank-0.bin",
                           *make_system_env());
  }
  std::vector<FlightState> states() const {
    std::vector<FlightState> states;
    for (const FlightOperation& operation : read().operations) states.push_back(operation.state);
    return states;
  }

  RankEnv env_;
};

TEST_F(FlightRecordingTest, AWorldRecordsWhatItsCommunicatorDoes) {
  {
    World world = World::create(env_, {});
    Communicator& communicator = world.communicator();
    communicator.all_reduce(at::zeros({64}), ReduceOp::kMax).wait();
    communicator.broadcast(at::zeros({3}, at::kLong), 0).wait();
    communicator.canonical_all_reduce({at::zeros({5}, at::kDouble)}, ReductionTree(1)).wait();
    EXPECT_EQ(read().end, FlightEnd::kOpen);
  }
  const FlightLog log = read();
  EXPECT_EQ(log.end, FlightEnd::kLeft);
  ASSERT_EQ(log.communicators.size(), 1u);
  EXPECT_EQ(log.communicators[0].name, "world");
  ASSERT_EQ(log.operations.size(), 4u);
  EXPECT_EQ(log.operations[0].operation, "barrier");  // of joining
  EXPECT_EQ(log.operations[1].operation, "all_reduce");
  EXPECT_EQ(log.operations[1].combine, "max");
  EXPECT_EQ(log.operations[1].elements, 64);
  EXPECT_EQ(log.operations[1].bytes, 256);
  EXPECT_EQ(log.operations[1].peer_role, FlightPeer::kNone);
  EXPECT_EQ(log.operations[2].operation, "broadcast");
  EXPECT_EQ(log.operations[2].peer_role, FlightPeer::kRoot);
  EXPECT_EQ(log.operations[2].peer, 0);
  EXPECT_EQ(log.operations[2].bytes, 24);
  EXPECT_EQ(log.operations[3].operation, "canonical_all_reduce");
  for (std::size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(log.operations[i].sequence, i);
    EXPECT_EQ(log.operations[i].state, FlightState::kEnded);
    EXPECT_LE(log.operations[i].queued_ns, log.operations[i].started_ns);
    EXPECT_LE(log.operations[i].started_ns, log.operations[i].ended_ns);
  }
}

TEST_F(FlightRecordingTest, APartIsACommunicatorOfItsOwn) {
  World world = World::create(env_, {});
  const auto part = world.communicator().split(3, 0);
  part->barrier().wait();
  const FlightLog log = read();
  ASSERT_EQ(log.communicators.size(), 2u);
  EXPECT_EQ(log.communicators[1].name, "split 0 (color 3)");
  EXPECT_EQ(log.communicators[1].size, 1);
  EXPECT_EQ(log.operations.back().operation, "barrier");
  EXPECT_EQ(log.operations.back().communicator, 1u);
  EXPECT_EQ(log.operations.back().sequence, 0u);
}

TEST_F(FlightRecordingTest, TheNextGenerationIsACommunicatorOfItsOwn) {
  env_.generation = 3;
  World world = World::create(env_, {});
  EXPECT_EQ(world.communicator().generation(), 3);
  const auto left = world.communicator().shrink(std::chrono::seconds(1));
  left->split(0, 0);
  const FlightLog log = read();
  ASSERT_EQ(log.communicators.size(), 3u);
  EXPECT_EQ(log.communicators[1].name, "world, generation 4");
  EXPECT_EQ(log.communicators[2].name, "generation 4, split 0 (color 0)");
  ASSERT_GE(log.operations.size(), 2u);
  EXPECT_EQ(log.operations[1].operation, "regroup");
  EXPECT_EQ(log.operations[1].communicator, 1u);
  EXPECT_EQ(log.operations[1].sequence, 0u);
  EXPECT_EQ(log.operations[1].state, FlightState::kEnded);
}

TEST_F(FlightRecordingTest, AWorldThatEndsByAnExceptionHasNotLeftInOrder) {
  try {
    World world = World::create(env_, {});
    throw UserError("the user's");
  } catch (const UserError&) {
  }
  EXPECT_EQ(read().end, FlightEnd::kFailed);
}

TEST_F(FlightRecordingTest, ADirectoryThatCannotBeWrittenIsNoReasonNotToTrain) {
  std::ofstream(fs::path(env_.flight_directory) / "file") << "";
  RankEnv elsewhere = env_;
  elsewhere.flight_directory += "/file/under";
  ::testing::internal::CaptureStderr();
  World world = World::create(elsewhere, {});
  world.communicator().all_reduce(at::zeros({64})).wait();
  const std::string told = ::testing::internal::GetCapturedStderr();
  EXPECT_THAT(told, ::testing::HasSubstr("operations are not recorded"));
  EXPECT_THAT(told, ::testing::HasSubstr("file/under"));
}

Operation operation_of(OperationKind kind, std::int64_t numel) {
  Operation operation;
  operation.signature.kind = kind;
  operation.signature.numel = numel;
  operation.signature.element_bytes = 4;
  std::snprintf(operation.signature.dtype_name, sizeof operation.signature.dtype_name, "Float");
  return operation;
}

TEST(FlightCallTest, SaysWhatWasCalled) {
  Operation average = operation_of(OperationKind::kReduce, 10);
  average.signature.divisor = 3;
  average.signature.root = 2;
  FlightCall call = flight_call(average);
  EXPECT_EQ(call.operation, "reduce");
  EXPECT_EQ(call.combine, "avg");
  EXPECT_EQ(call.dtype, "Float");
  EXPECT_EQ(call.elements, 10);
  EXPECT_EQ(call.bytes, 40);
  EXPECT_EQ(call.peer_role, FlightPeer::kRoot);
  EXPECT_EQ(call.peer, 2);
  call = flight_call(operation_of(OperationKind::kAllToAll, -1));  // counts by rank
  EXPECT_EQ(call.combine, "");
  EXPECT_EQ(call.elements, -1);
  EXPECT_EQ(call.bytes, -1);
  EXPECT_EQ(call.peer_role, FlightPeer::kNone);
  Operation transfer = operation_of(OperationKind::kSend, 5);
  transfer.peer = 1;
  EXPECT_EQ(flight_call(transfer).peer_role, FlightPeer::kTo);
  EXPECT_EQ(flight_call(transfer).peer, 1);
  transfer.signature.kind = OperationKind::kReceive;
  EXPECT_EQ(flight_call(transfer).peer_role, FlightPeer::kFrom);
  EXPECT_EQ(flight_call(operation_of(OperationKind::kLeave, 0)).dtype, "");
}

// By way of the host, whose own steps are not recorded.
TEST_F(FlightRecordingTest, ACommunicatorForADeviceHasItsOwnLane) {
  {
    World world = World::create(env_, {});
    auto& queued = dynamic_cast<QueuedCommunicator&>(world.communicator());
    const auto device = std::make_shared<testing::LazyDevice>();
    const auto communicator = queued.on_device(
        at::kCPU, std::chrono::seconds(10),
        [&](std::unique_ptr<Transport> host, const OperationRun&) -> std::unique_ptr<Transport> {
          return std::make_unique<StagedTransport>(std::move(host), device, 0, 1);
        });
    communicator->all_reduce(at::zeros({64}), ReduceOp::kMax).wait();
  }
  const FlightLog log = read();
  ASSERT_EQ(log.communicators.size(), 2u);
  EXPECT_EQ(log.communicators[1].name, "cpu 0");
  const FlightOperation& last = log.operations.back();
  EXPECT_EQ(last.operation, "all_reduce");
  EXPECT_EQ(last.dtype, "Float");
  EXPECT_EQ(last.bytes, 256);
  EXPECT_EQ(last.state, FlightState::kEnded);
}

/// Fails the operations of one element, and tells for each whether its record said "started".
class FailingTransport : public Transport {
 public:
  void run(const OperationRun& run) override {
    if (run.operation().signature.numel == 1) throw PeerLost("as told");
  }
  std::unique_ptr<Transfer> start_transfer(const OperationRun&) override { return nullptr; }
  std::unique_ptr<Transport> split(const OperationRun&, const std::vector<std::vector<int>>&,
                                   int) override {
    return nullptr;
  }
  void greet(const OperationRun&) override {}
  void give_up(const std::exception_ptr&) noexcept override {}
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override {
    return allocate_zeroed(bytes);
  }
};

TEST_F(FlightRecordingTest, AFailureIsThatOfItsOperationAndOfAllBehindIt) {
  const auto recorder = FlightRecorder::create(env_);
  const auto queue =
      OperationQueue::start(std::make_unique<FailingTransport>(), "", std::chrono::seconds(10),
                            recorder->add_communicator("world", 0, 1));
  const auto submit = [&](std::int64_t numel) {
    Operation operation;
    operation.signature.numel = numel;
    return queue->submit(std::move(operation), {});
  };
  submit(0)->wait();
  EXPECT_THROW(submit(1)->wait(), PeerLost);
  EXPECT_THROW(submit(0)->wait(), PeerLost);
  const FlightLog log = read();
  ASSERT_EQ(log.operations.size(), 3u);
  EXPECT_EQ(log.operations[0].state, FlightState::kEnded);
  EXPECT_EQ(log.operations[1].state, FlightState::kFailed);
  EXPECT_GT(log.operations[1].started_ns, 0);
  EXPECT_EQ(log.operations[2].state, FlightState::kFailed);
  EXPECT_EQ(log.operations[2].started_ns, 0) << "nobody came to it";
  queue->stop();
}

}  // namespace
}  // namespace muster::internal
