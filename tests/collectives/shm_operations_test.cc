// Every operation between forked ranks over shared memory.
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <limits>
#include <tuple>
#include <vector>

#include "collectives/checks/operation_checks.h"
#include "collectives/rank_processes.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

class ShmOperations : public ::testing::TestWithParam<std::tuple<int, at::ScalarType>> {};

TEST_P(ShmOperations, GiveExactResults) {
  const auto [world_size, dtype] = GetParam();
  run_ranks(world_size, [dtype = dtype](int, Communicator& communicator) {
    check_all_operations(communicator, dtype);
  });
}

INSTANTIATE_TEST_SUITE_P(WorldSizes, ShmOperations,
                         ::testing::Combine(::testing::Values(2, 3, 4),
                                            ::testing::ValuesIn(kReducibleDtypes)),
                         [](const auto& given) {
                           return "Ranks" + std::to_string(std::get<0>(given.param)) +
                                  c10::toString(std::get<1>(given.param));
                         });

TEST(ShmTransport, Splits) {
  for (const int world_size : {2, 3, 5}) {
    run_ranks(world_size, [](int, Communicator& communicator) { check_split(communicator); });
  }
}

// More than one communicator's allocations; what a part had goes back with it.
TEST(ShmTransport, SplitsWithoutEnd) {
  constexpr int kSplits = 3000;
  const auto memory = NodeMemory::create(3, 0);
  const auto body = [&](int rank, Communicator& communicator) {
    for (int i = 0; i < kSplits; ++i) {
      const auto part = communicator.split(i % 100 == 0 ? 0 : rank, 0);
      if (i % 100 == 0) part->barrier().wait();
    }
    communicator.barrier().wait();
    struct stat info {};
    ASSERT_EQ(fstat(memory->fd(), &info), 0);
    EXPECT_LT(info.st_blocks * 512, 16 << 20);
  };
  for (const RankEnd& end : run_ranks(*memory, 3, std::chrono::seconds(20), body)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
}

// What a window had goes back with it, too.
TEST(ShmTransport, OpensWindowsWithoutEnd) {
  constexpr int kWindows = 9000;
  constexpr std::int64_t kNumel = 1 << 16;
  const auto memory = NodeMemory::create(2, 0);
  const auto body = [&](int rank, Communicator& communicator) {
    for (int i = 0; i < kWindows; ++i) {
      const auto window = communicator.open_window(kNumel, at::kByte);
      window->own().fill_(rank + i % 7);
      if (i % 100 != 0) continue;
      communicator.barrier().wait();
      at::Tensor theirs = at::empty({kNumel}, at::kByte);
      window->read(1 - rank, 0, theirs).wait();
      ASSERT_EQ(theirs[kNumel - 1].item<int>(), 1 - rank + i % 7);
      communicator.barrier().wait();
    }
    communicator.barrier().wait();
    struct stat info {};
    ASSERT_EQ(fstat(memory->fd(), &info), 0);
    EXPECT_LT(info.st_blocks * 512, 16 << 20);
  };
  for (const RankEnd& end : run_ranks(*memory, 2, std::chrono::seconds(20), body)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
}

// A child has copies of all that is there.
TEST(ShmTransport, IsNotLeftByAChildThatEnds) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    std::unique_ptr<Communicator> part = communicator.split(0, rank);
    std::unique_ptr<Window> window = communicator.open_window(1000, at::kInt);
    window->own().fill_(rank + 1);
    communicator.barrier().wait();
    if (rank == 0) {
      const pid_t child = fork();
      if (child == 0) {
        alarm(10);
        window.reset();
        part.reset();
        _exit(0);
      }
      int status = -1;
      EXPECT_EQ(waitpid(child, &status, 0), child);
      EXPECT_EQ(status, 0);
    }
    communicator.barrier().wait();
    if (rank == 1) window.reset();
    part->barrier().wait();
    if (rank == 0) {
      EXPECT_TRUE(window->own().eq(1).all().item<bool>());
    }
  });
}

// Where the ranks' copies together are more than 2^64 bytes, too; and a smaller one has room after.
TEST(ShmTransport, RefusesMoreSymmetricMemoryThanThereIs) {
  run_ranks(4, [](int rank, Communicator& communicator) {
    for (const int power : {62, 61, 45, 40}) {
      const std::int64_t numel = std::int64_t{1} << power;
      EXPECT_THROW(communicator.allocate_symmetric(numel, at::kByte), ConfigError) << power;
      EXPECT_THROW(communicator.allocate_shared(numel, at::kByte), ConfigError) << power;
    }
    at::Tensor tensor = communicator.allocate_symmetric(100000, at::kFloat);
    tensor.fill_(rank + 1);
    communicator.all_reduce(tensor).wait();
    EXPECT_EQ(tensor[99999].item<float>(), 10.0f);
  });
}

// 3 times the largest of them is small.
TEST(ShmTransport, RefusesCountsWhoseSumOverflows) {
  run_ranks(3, [](int, Communicator& communicator) {
    constexpr std::int64_t kMost = std::numeric_limits<std::int64_t>::max();
    const at::Tensor tensor = at::zeros({3});
    EXPECT_THROW(communicator.all_gather(tensor, at::zeros({5}), {kMost, kMost, 5}), ConfigError);
    EXPECT_THROW(communicator.all_to_all(tensor, {1, 1, 1}, at::zeros({3}), {kMost, kMost, 5}),
                 ConfigError);
  });
}

// Nobody is late.
TEST(ShmTransport, NeedsNoDeadline) {
  const auto memory = NodeMemory::create(2, 0);
  const auto body = [](int, Communicator& communicator) {
    at::Tensor tensor = at::ones({100000});
    for (int i = 0; i < 100; ++i) communicator.all_reduce(tensor, ReduceOp::kMax).wait();
    const auto next = communicator.shrink(std::chrono::milliseconds::max());
    EXPECT_EQ(next->world_size(), 2);
  };
  for (const RankEnd& end : run_ranks(*memory, 2, std::chrono::milliseconds::max(), body)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
}

TEST(ShmTransport, RunsManyOperationsInFlight) {
  for (const int world_size : {2, 3, 8}) {
    run_ranks(world_size,
              [](int, Communicator& communicator) { check_asynchronous(communicator); });
  }
}

// All sends before all receives, so that the receive at the head is far from the first item.
TEST(ShmTransport, KeepsThousandsOfTransfersInFlight) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    constexpr int kMany = 3000;
    std::vector<at::Tensor> received;
    std::vector<Work> works;
    for (int i = 0; i < kMany; ++i) {
      works.push_back(communicator.send(at::full({1}, i + rank, at::kInt), 1 - rank));
    }
    for (int i = 0; i < kMany; ++i) {
      received.push_back(at::zeros({1}, at::kInt));
      works.push_back(communicator.recv(received.back(), 1 - rank));
    }
    for (Work& work : works) work.wait();
    for (int i = 0; i < kMany; ++i) {
      ASSERT_EQ(received[static_cast<std::size_t>(i)].item<int>(), i + 1 - rank);
    }
  });
}

// Reduced straight in symmetric memory on one rank, from ordinary memory on another: all ranks must
// take the same way.
TEST(ShmTransport, MixesSymmetricAndOrdinaryTensors) {
  run_ranks(3, [](int rank, Communicator& communicator) {
    constexpr std::int64_t kNumel = 300000;
    at::Tensor symmetric = communicator.allocate_symmetric(kNumel, at::kFloat);
    at::Tensor tensor = rank == 1 ? at::empty({kNumel}, at::kFloat) : symmetric;
    tensor.copy_(rank_values(rank, kNumel, at::kFloat));
    communicator.all_reduce(tensor).wait();
    EXPECT_TRUE(at::equal(tensor, combined_values(3, kNumel, at::kFloat, ReduceOp::kSum)));
  });
}

// Slices of one symmetric tensor, at different places on different ranks.
TEST(ShmTransport, TakesSlicesOfSymmetricTensors) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    constexpr std::int64_t kNumel = 100001;
    at::Tensor whole = communicator.allocate_symmetric(3 * kNumel, at::kDouble);
    at::Tensor tensor = whole.narrow(0, rank * kNumel + 1, kNumel);
    tensor.copy_(rank_values(rank, kNumel, at::kDouble));
    communicator.all_reduce(tensor).wait();
    EXPECT_TRUE(at::equal(tensor, combined_values(2, kNumel, at::kDouble, ReduceOp::kSum)));
    EXPECT_EQ(whole[rank * kNumel].item<double>(), 0.0);
    EXPECT_EQ(whole[(rank + 1) * kNumel + 1].item<double>(), 0.0);
  });
}

TEST(ShmTransport, GivesSymmetricTensorsZeroedAndDistinct) {
  run_ranks(2, [](int rank, Communicator& communicator) {
    at::Tensor a = communicator.allocate_symmetric(5000, at::kFloat);
    at::Tensor b = communicator.allocate_symmetric(1, at::kLong);
    EXPECT_EQ(a.abs().max().item<float>(), 0.0f);
    a.fill_(rank + 1.0);
    b.fill_(7);
    communicator.barrier().wait();
    EXPECT_EQ(a.min().item<float>(), rank + 1.0f);
    EXPECT_EQ(b.item<std::int64_t>(), 7);
    EXPECT_EQ(communicator.allocate_symmetric(0, at::kFloat).numel(), 0);
  });
}

TEST(ShmTransport, GivesSharedTensorsThatAllRanksSee) {
  run_ranks(3, [](int rank, Communicator& communicator) {
    at::Tensor shared = communicator.allocate_shared(3, at::kLong);
    shared[rank] = rank + 1;
    communicator.barrier().wait();
    for (int r = 0; r < 3; ++r) EXPECT_EQ(shared[r].item<std::int64_t>(), r + 1);
    communicator.barrier().wait();
    const at::Tensor other = communicator.allocate_shared(1000, at::kFloat);
    EXPECT_EQ(other.abs().max().item<float>(), 0.0f);
  });
}

}  // namespace
}  // namespace muster::testing
