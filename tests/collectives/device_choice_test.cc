// What carries CUDA tensors, and the words for it.
#include "device/device_choice.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::HasSubstr;

RankDevice gpu(std::uint8_t id, std::uint64_t node = 7, int reaches_all = 1) {
  RankDevice one;
  one.number = 0;
  one.devices = 1;
  one.node = node;
  one.id[0] = id;
  one.reaches_all = reaches_all;
  return one;
}

std::string refusal(const std::vector<RankDevice>& ranks, const std::string& wanted) {
  try {
    choose_device_transport(ranks, wanted);
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

TEST(DeviceChoiceTest, NcclServesRanksWithGpusOfTheirOwn) {
  EXPECT_EQ(choose_device_transport({gpu(1), gpu(2)}, "auto").transport, "nccl");
  // Equal numbers on different machines are different GPUs.
  EXPECT_EQ(choose_device_transport({gpu(1, 7, 0), gpu(1, 8, 0)}, "auto").transport, "nccl");
}

TEST(DeviceChoiceTest, RanksOnOneGpuWorkInEachOthersMemory) {
  const DeviceChoice choice = choose_device_transport({gpu(1), gpu(2), gpu(1)}, "auto");
  EXPECT_EQ(choice.transport, "cuda_ipc");
  EXPECT_EQ(choice.reason, "ranks 0 and 2 share a GPU, which NCCL refuses");
}

TEST(DeviceChoiceTest, TheHostServesTheRest) {
  const DeviceChoice apart = choose_device_transport({gpu(1), gpu(1), gpu(1, 8)}, "auto");
  EXPECT_EQ(apart.transport, "host");
  EXPECT_THAT(apart.reason, HasSubstr("and ranks 0 and 2 are on different nodes"));
  const DeviceChoice out_of_reach = choose_device_transport({gpu(1), gpu(1, 7, 0)}, "auto");
  EXPECT_EQ(out_of_reach.transport, "host");
  EXPECT_THAT(out_of_reach.reason, HasSubstr("rank 1's GPU does not reach"));
}

TEST(DeviceChoiceTest, OneRankNeedsNoOtherProcessToReachItsMemory) {
  EXPECT_EQ(choose_device_transport({gpu(1)}, "auto").transport, "cuda_ipc");
  const DeviceChoice choice = choose_device_transport({gpu(1, 7, 0)}, "auto");
  EXPECT_EQ(choice.transport, "host");
  EXPECT_THAT(choice.reason, HasSubstr("CUDA refuses to share memory of rank 0's GPU"));
  EXPECT_EQ(choose_device_transport({gpu(1, 7, 0)}, "nccl").transport, "nccl");
  EXPECT_THAT(refusal({gpu(1, 7, 0)}, "cuda_ipc"), HasSubstr("CUDA refuses to share memory"));
}

TEST(DeviceChoiceTest, WhatIsAskedForIsTakenOrRefused) {
  EXPECT_EQ(choose_device_transport({gpu(1), gpu(2)}, "cuda_ipc").transport, "cuda_ipc");
  EXPECT_EQ(choose_device_transport({gpu(1), gpu(2)}, "host").transport, "host");
  EXPECT_EQ(choose_device_transport({gpu(1)}, "nccl").transport, "nccl");
  EXPECT_THAT(refusal({gpu(1), gpu(1)}, "nccl"), HasSubstr("share a GPU, which NCCL refuses"));
  EXPECT_THAT(refusal({gpu(1), gpu(2, 7, 0)}, "cuda_ipc"), HasSubstr("rank 1's GPU"));
  EXPECT_THAT(refusal({gpu(1)}, "gloo"), HasSubstr("found 'gloo'"));
}

TEST(DeviceChoiceTest, EveryRankLearnsWhoHasNoGpu) {
  RankDevice none;
  EXPECT_THAT(refusal({gpu(1), none}, "auto"), HasSubstr("rank 1 to have a GPU number 0, found 0"));
}

}  // namespace
}  // namespace muster::internal
