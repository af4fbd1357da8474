// The transports for device memory, on a device that is a CPU.
#include <ATen/ATen.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <tuple>

#include "collectives/checks/operation_checks.h"
#include "collectives/faults.h"
#include "collectives/lazy_device.h"
#include "collectives/rank_processes.h"
#include "device/direct_transport.h"
#include "device/staged_transport.h"
#include "muster/base/error.h"
#include "queued_communicator.h"

namespace muster::testing {
namespace {

using internal::DirectTransport;
using internal::QueuedCommunicator;
using internal::StagedTransport;
using ::testing::AllOf;
using ::testing::HasSubstr;

enum class Kind { kStaged, kDirect };

constexpr std::int64_t kSmallHalf = 256 * 1024;  // so that there are many pieces
constexpr auto kTimeout = std::chrono::seconds(20);

std::unique_ptr<QueuedCommunicator> on_lazy_device(Communicator& host, Kind kind,
                                                   const std::shared_ptr<LazyDevice>& device,
                                                   std::chrono::milliseconds timeout = kTimeout) {
  auto& queued = dynamic_cast<QueuedCommunicator&>(host);
  return queued.on_device(
      at::kCPU, timeout,
      [&](std::unique_ptr<internal::Transport> transport,
          const internal::OperationRun&) -> std::unique_ptr<internal::Transport> {
        if (kind == Kind::kStaged) {
          return std::make_unique<StagedTransport>(std::move(transport), device, host.rank(),
                                                   host.world_size(), kSmallHalf);
        }
        return std::make_unique<DirectTransport>(std::move(transport), device, host.rank(),
                                                 host.world_size(), kSmallHalf);
      });
}

std::string name_of(Kind kind) { return kind == Kind::kStaged ? "Staged" : "Direct"; }

class DeviceOperations : public ::testing::TestWithParam<std::tuple<Kind, int, at::ScalarType>> {};

TEST_P(DeviceOperations, GiveExactResults) {
  const auto [kind, world_size, dtype] = GetParam();
  run_ranks(world_size, [kind = kind, dtype = dtype](int, Communicator& host) {
    const auto communicator = on_lazy_device(host, kind, std::make_shared<LazyDevice>());
    check_all_operations(*communicator, dtype);
  });
}

INSTANTIATE_TEST_SUITE_P(
    Kinds, DeviceOperations,
    ::testing::Combine(::testing::Values(Kind::kStaged, Kind::kDirect), ::testing::Values(2, 3),
                       ::testing::Values(at::kFloat, at::kBFloat16, at::kBool)),
    [](const auto& given) {
      return name_of(std::get<0>(given.param)) + "Ranks" +
             std::to_string(std::get<1>(given.param)) + c10::toString(std::get<2>(given.param));
    });

class DeviceTransports : public ::testing::TestWithParam<Kind> {};

TEST_P(DeviceTransports, SplitAndRunManyOperationsInFlight) {
  run_ranks(3, [](int, Communicator& host) {
    const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>());
    check_split(*communicator);
    check_asynchronous(*communicator);
  });
}

// What the caller's stream was told before a call happens before the operation, on every rank.
TEST_P(DeviceTransports, FollowTheCallersWork) {
  run_ranks(2, [](int rank, Communicator& host) {
    const auto device = std::make_shared<LazyDevice>();
    const auto communicator = on_lazy_device(host, GetParam(), device);
    for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
      at::Tensor tensor = allocate(*communicator, memory, 100000, at::kFloat).zero_();
      device->caller_does([tensor, rank] { tensor.fill_(rank + 1); });
      communicator->all_reduce(tensor).wait();
      EXPECT_TRUE(tensor.eq(3).all().item<bool>());
    }
  });
}

TEST_P(DeviceTransports, MixMemories) {
  run_ranks(3, [](int rank, Communicator& host) {
    constexpr std::int64_t kNumel = 100001;
    const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>());
    at::Tensor symmetric = communicator->allocate_symmetric(3 * kNumel, at::kDouble);
    at::Tensor tensor =
        rank == 1 ? at::empty({kNumel}, at::kDouble) : symmetric.narrow(0, rank * kNumel, kNumel);
    tensor.copy_(rank_values(rank, kNumel, at::kDouble));
    communicator->all_reduce(tensor).wait();
    EXPECT_TRUE(at::equal(tensor, combined_values(3, kNumel, at::kDouble, ReduceOp::kSum)));
  });
}

TEST_P(DeviceTransports, NameBothCallsOfAMismatch) {
  run_ranks(2, [](int rank, Communicator& host) {
    const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>());
    const at::Tensor tensor = at::zeros({rank == 0 ? 100000 : 100001});
    const std::string error =
        error_of<Mismatch>(rank, [&] { communicator->all_reduce(tensor).wait(); });
    EXPECT_THAT(error, AllOf(HasSubstr("rank 0 called all_reduce(sum, Float, 100000 elements)"),
                             HasSubstr("rank 1 called all_reduce(sum, Float, 100001 elements)")));
  });
}

TEST_P(DeviceTransports, NameWhoIsAbsent) {
  const auto memory = NodeMemory::create(2, 0);
  run_ranks(*memory, 2, kTimeout, [](int rank, Communicator& host) {
    const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>(),
                                             std::chrono::milliseconds(200));
    if (rank == 0) {
      at::Tensor tensor = at::zeros({100000});
      const std::string error =
          error_of<Timeout>(rank, [&] { communicator->all_reduce(tensor).wait(); });
      EXPECT_THAT(error,
                  AllOf(HasSubstr("all_reduce(sum, Float, 100000 elements)"), HasSubstr("rank 1")));
    }
    host.barrier().wait();
  });
}

// At a random moment of a long series of operations.
TEST_P(DeviceTransports, SurviveTheDeathOfARank) {
  for (const Memory where : {Memory::kOrdinary, Memory::kSymmetric}) {
    const auto memory = NodeMemory::create(3, 0);
    const auto ends = run_ranks(*memory, 3, kTimeout, [where](int rank, Communicator& host) {
      const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>());
      at::Tensor tensor = allocate(*communicator, where, 50000, at::kFloat).zero_();
      const std::string error = error_of<PeerLost>(rank, [&] {
        for (int i = 0;; ++i) {
          if (rank == 1 && i == 5) {
            const Work unfinished = communicator->all_reduce(tensor);
            kill(getpid(), SIGKILL);
          }
          communicator->all_reduce(tensor).wait();
        }
      });
      EXPECT_THAT(error, AllOf(HasSubstr("all_reduce"), HasSubstr("rank 1"), HasSubstr("died")));
      const auto next = communicator->shrink(std::chrono::seconds(5));
      EXPECT_EQ(next->world_size(), 2);
      tensor.fill_(1);
      next->all_reduce(tensor).wait();
      EXPECT_TRUE(tensor.eq(2).all().item<bool>());
    });
    expect_survivors_well(ends, 1);
  }
}

TEST_P(DeviceTransports, AbortWakesTheWaiter) {
  run_ranks(2, [](int rank, Communicator& host) {
    const auto communicator = on_lazy_device(host, GetParam(), std::make_shared<LazyDevice>());
    if (rank == 0) {
      at::Tensor tensor = at::zeros({1000});
      Work work = communicator->all_reduce(tensor);
      communicator->abort("of a test");
      EXPECT_THAT(error_of<PeerLost>(rank, [&] { work.wait(); }), HasSubstr("of a test"));
    }
    host.barrier().wait();
  });
}

INSTANTIATE_TEST_SUITE_P(Kinds, DeviceTransports, ::testing::Values(Kind::kStaged, Kind::kDirect),
                         [](const auto& given) { return name_of(given.param); });

/// Once the staging areas are open, the owner of what is to be opened dies.
class DeviceOfADyingPeer : public LazyDevice {
 public:
  std::shared_ptr<std::byte> open(const internal::MemoryHandle& handle) override {
    if (opened_++ == 0) return LazyDevice::open(handle);
    const auto owner = static_cast<pid_t>(LazyDevice::owner(handle));
    kill(owner, SIGKILL);
    pollfd ended{static_cast<int>(syscall(SYS_pidfd_open, owner, 0)), POLLIN, 0};
    EXPECT_EQ(poll(&ended, 1, 20000), 1);
    close(ended.fd);
    throw ConfigError("no such memory");
  }

 private:
  int opened_ = 0;
};

TEST(DeviceTransport, MemoryThatCannotBeOpenedIsALostPeersFirst) {
  const auto memory = NodeMemory::create(2, 0);
  const auto ends = run_ranks(*memory, 2, kTimeout, [](int rank, Communicator& host) {
    std::shared_ptr<LazyDevice> device = std::make_shared<LazyDevice>();
    if (rank == 0) device = std::make_shared<DeviceOfADyingPeer>();
    const auto communicator = on_lazy_device(host, Kind::kDirect, device);
    const at::Tensor tensor = communicator->allocate_symmetric(1000, at::kFloat).zero_();
    EXPECT_THAT(error_of<PeerLost>(rank, [&] { communicator->all_reduce(tensor).wait(); }),
                AllOf(HasSubstr("all_reduce"), HasSubstr("rank 1"), HasSubstr("died")));
  });
  expect_survivors_well(ends, 1);
}

// Labelled as GPUs': nobody looks into them.
TEST(DeviceTransport, RefusesTensorsOfAnotherGpu) {
  run_ranks(1, [](int rank, Communicator& host) {
    const auto device = std::make_shared<LazyDevice>();
    const auto communicator = dynamic_cast<QueuedCommunicator&>(host).on_device(
        at::Device(at::kCUDA, 0), kTimeout,
        [&](std::unique_ptr<internal::Transport> transport, const internal::OperationRun&) {
          return std::make_unique<DirectTransport>(std::move(transport), device, 0, 1, kSmallHalf);
        });
    float value = 0;
    const at::Device other(at::kCUDA, 1);
    const at::Tensor tensor = at::from_blob(
        &value, {1}, [](void*) {}, at::TensorOptions(at::kFloat).device(other), other);
    EXPECT_THAT(error_of<ConfigError>(rank, [&] { communicator->all_reduce(tensor); }),
                HasSubstr("expected tensors on cuda:0, the communicator's device, found one on "
                          "cuda:1"));
  });
}

// For a rank that needs it, each has a word to say of what it cannot do.
TEST(DeviceTransport, ReplaceSendsToTheWorldsCommunicator) {
  run_ranks(1, [](int rank, Communicator& host) {
    const auto communicator = on_lazy_device(host, Kind::kDirect, std::make_shared<LazyDevice>());
    EXPECT_THAT(
        error_of<ConfigError>(rank, [&] { communicator->replace(std::chrono::seconds(1)); }),
        HasSubstr("let the world's replace()"));
  });
}

}  // namespace
}  // namespace muster::testing
