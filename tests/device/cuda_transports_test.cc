// Every transport of CUDA tensors, with several ranks on one GPU where that can be.
#include <ATen/ATen.h>
#include <cuda_runtime_api.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <tuple>

#include "collectives/checks/operation_checks.h"
#include "collectives/faults.h"
#include "collectives/rank_processes.h"
#include "cuda/check_cuda.h"
#include "cuda/cuda_device.h"
#include "device/gpu.h"
#include "device/shadow_communicator.h"
#include "muster/base/error.h"
#include "muster/collectives/cuda_communicator.h"

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr auto kTimeout = std::chrono::seconds(60);
constexpr auto kLimit = std::chrono::seconds(280);  // ranks on one GPU take turns

/// A transport and a world that it is to serve.
struct Setting {
  std::string transport;
  int world_size = 1;
  int gpus = 1;  ///< That the ranks take in turn.
  bool fast = false;
};

void PrintTo(const Setting& setting, std::ostream* out) {
  *out << setting.transport << " with " << setting.world_size << " ranks";
}

CudaOptions options_of(const Setting& setting, int rank) {
  return {.device = rank % setting.gpus,
          .transport = setting.transport,
          .fast = setting.fast,
          .timeout = kTimeout};
}

std::unique_ptr<Communicator> shadow_of(Communicator& host, const Setting& setting) {
  const CudaOptions options = options_of(setting, host.rank());
  return std::make_unique<ShadowCommunicator>(make_cuda_communicator(host, options),
                                              options.device);
}

std::vector<RankEnd> run_in(const Setting& setting, const RankBody& body) {
  const auto memory = NodeMemory::create(setting.world_size, 0);
  return run_ranks(*memory, setting.world_size, kTimeout, body, kLimit);
}

void run_well_in(const Setting& setting, const RankBody& body) {
  for (const RankEnd& end : run_in(setting, body)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
}

class CudaTransport : public ::testing::TestWithParam<Setting> {
 protected:
  void SetUp() override { MUSTER_NEEDS_GPUS(GetParam().gpus); }
};

INSTANTIATE_TEST_SUITE_P(Settings, CudaTransport,
                         ::testing::Values(Setting{"nccl", 1}, Setting{"nccl", 1, 1, true},
                                           Setting{"cuda_ipc", 1}, Setting{"cuda_ipc", 2},
                                           Setting{"cuda_ipc", 4}, Setting{"host", 1},
                                           Setting{"host", 2}, Setting{"host", 4},
                                           Setting{"nccl", 2, 2}, Setting{"nccl", 2, 2, true},
                                           Setting{"nccl", 4, 4}, Setting{"cuda_ipc", 2, 2}),
                         [](const auto& given) {
                           return given.param.transport + (given.param.fast ? "_fast" : "") +
                                  "_ranks_" + std::to_string(given.param.world_size) + "_gpus_" +
                                  std::to_string(given.param.gpus);
                         });

TEST_P(CudaTransport, GivesExactResultsOfFloats) {
  run_well_in(GetParam(), [](int, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
      for (const std::int64_t numel : {std::int64_t{0}, std::int64_t{1}, std::int64_t{65},
                                       std::int64_t{4097}, 4 * large_size(at::kFloat) + 3}) {
        check_operations_at(*communicator, memory, numel, at::kFloat);
        if (numel < large_size(at::kFloat))
          check_canonical_at(*communicator, memory, numel, at::kFloat, 7);
      }
    }
  });
}

TEST_P(CudaTransport, GivesExactResultsOfOtherDtypes) {
  if (GetParam().fast) GTEST_SKIP() << "NCCL's own order rounds halves more than once";
  run_well_in(GetParam(), [](int, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    for (const at::ScalarType dtype : kReducibleDtypes) {
      if (dtype == at::kFloat) continue;
      for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
        check_operations_at(*communicator, memory, 4097, dtype);
      }
    }
    check_canonical_at(*communicator, Memory::kSymmetric, 4097, at::kDouble, 5);
    check_canonical_at(*communicator, Memory::kOrdinary, 4097, at::kLong, 7);
  });
}

TEST_P(CudaTransport, SplitsAndRunsManyOperationsInFlight) {
  run_well_in(GetParam(), [](int, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    if (host.world_size() > 1) check_split(*communicator);
    check_asynchronous(*communicator);
  });
}

// Sums of floats of every exponent, NaN and infinities among them.
TEST_P(CudaTransport, CanonicalSumsHaveTheBitsOfTheCpu) {
  run_well_in(GetParam(), [](int rank, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    constexpr std::int64_t kNumel = 300001;
    for (const int logical_ranks : {4, 5, 8, 13}) {
      const ReductionTree tree(logical_ranks);
      const auto subtrees = tree.subtrees_by_rank(host.world_size());
      std::mt19937 random(static_cast<unsigned>(1000 * logical_ranks + rank));
      std::vector<at::Tensor> on_cpu;
      std::vector<at::Tensor> on_gpu;
      for (std::size_t i = 0; i < subtrees[static_cast<std::size_t>(rank)].size(); ++i) {
        on_cpu.push_back(at::empty({kNumel}, at::kInt));
        auto* bits = on_cpu.back().mutable_data_ptr<std::int32_t>();
        for (std::int64_t k = 0; k < kNumel; ++k) bits[k] = static_cast<std::int32_t>(random());
        on_cpu.back() = on_cpu.back().view(at::kFloat);
        on_gpu.push_back(on_cpu.back().clone());
      }
      host.canonical_all_reduce(on_cpu, tree).wait();
      communicator->canonical_all_reduce(on_gpu, tree).wait();
      // At one rank there is nothing to add, and a NaN keeps its payload on the CPU.
      const at::Tensor cpu = host.world_size() > 1 ? on_cpu[0] : at::nan_to_num(on_cpu[0]);
      const at::Tensor gpu = host.world_size() > 1 ? on_gpu[0] : at::nan_to_num(on_gpu[0]);
      EXPECT_TRUE(at::equal(cpu.view(at::kInt), gpu.view(at::kInt))) << logical_ranks;
    }
  });
}

// The operation is issued while the caller's stream still fills the tensor.
TEST_P(CudaTransport, FollowsTheCallersStream) {
  run_well_in(GetParam(), [](int rank, Communicator& host) {
    const CudaOptions options = options_of(GetParam(), rank);
    const auto communicator = make_cuda_communicator(host, options);
    constexpr std::int64_t kNumel = 1 << 24;
    const at::Tensor source = at::full({kNumel}, rank + 1, at::kFloat);
    const at::Tensor filled = gpu_tensor(options.device, kNumel, at::kFloat);
    const at::Tensor tensor = gpu_tensor(options.device, kNumel, at::kFloat);
    const at::Tensor result = at::empty({kNumel}, at::kFloat);
    copy_tensor(filled, source);
    for (int i = 0; i < 5; ++i) {
      internal::check_cuda(cudaMemsetAsync(tensor.mutable_data_ptr(), 0, tensor.nbytes(), nullptr),
                           "cudaMemsetAsync");
      for (int copy = 0; copy < 20; ++copy) {
        internal::check_cuda(cudaMemcpyAsync(tensor.mutable_data_ptr(), filled.const_data_ptr(),
                                             tensor.nbytes(), cudaMemcpyDeviceToDevice, nullptr),
                             "cudaMemcpyAsync");
      }
      communicator->all_reduce(tensor).wait();
      copy_tensor(result, tensor);
      const int expected = host.world_size() * (host.world_size() + 1) / 2;
      EXPECT_TRUE(result.eq(expected).all().item<bool>());
    }
  });
}

TEST_P(CudaTransport, ARanksDeathIsPeerLostAndTheOthersGoOn) {
  if (GetParam().world_size < 2) GTEST_SKIP() << "one rank has nobody to lose";
  const auto ends = run_in(GetParam(), [](int rank, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
      at::Tensor tensor = allocate(*communicator, memory, 1 << 22, at::kFloat).zero_();
      for (int i = 0; i < 3; ++i) communicator->all_reduce(tensor).wait();
    }
    at::Tensor tensor = allocate(*communicator, Memory::kSymmetric, 1 << 24, at::kFloat).zero_();
    if (rank == 1) {
      const Work unfinished = communicator->all_reduce(tensor);
      kill(getpid(), SIGKILL);
    }
    const std::int64_t begun = now_ns();
    const std::string error = error_of<PeerLost>(rank, [&] {
      for (;;) communicator->all_reduce(tensor).wait();
    });
    EXPECT_LT(since(begun), std::chrono::seconds(10));
    EXPECT_THAT(error, AllOf(HasSubstr("all_reduce"), HasSubstr("rank 1"), HasSubstr("died")));
    const auto next = communicator->shrink(std::chrono::seconds(20));
    EXPECT_EQ(next->world_size(), host.world_size() - 1);
    tensor.fill_(1);
    next->all_reduce(tensor).wait();
    EXPECT_TRUE(tensor.eq(next->world_size()).all().item<bool>());
  });
  expect_survivors_well(ends, 1);
}

TEST_P(CudaTransport, DifferentCallsAreAMismatch) {
  if (GetParam().world_size < 2) GTEST_SKIP() << "one rank agrees with itself";
  run_well_in(GetParam(), [](int rank, Communicator& host) {
    const auto communicator = shadow_of(host, GetParam());
    const at::Tensor tensor = at::zeros({rank == 0 ? 1000 : 1001});
    EXPECT_THAT(error_of<Mismatch>(rank, [&] { communicator->all_reduce(tensor).wait(); }),
                AllOf(HasSubstr("1000 elements"), HasSubstr("1001 elements")));
  });
}

TEST_P(CudaTransport, WhatIsNotLookedAtMayLieAnywhere) {
  run_well_in(GetParam(), [](int rank, Communicator& host) {
    const CudaOptions options = options_of(GetParam(), rank);
    const auto communicator = make_cuda_communicator(host, options);
    const at::TensorOptions on_gpu = at::Device(at::kCUDA, static_cast<int8_t>(options.device));
    const at::Tensor own = at::ones({8}, on_gpu);
    const int ranks = host.world_size();
    at::Tensor sum = rank == 0 ? at::zeros({8}, on_gpu) : at::zeros({1});
    at::Tensor all = rank == 0 ? at::zeros({8 * ranks}, on_gpu) : at::zeros({1});
    communicator->reduce(sum, own, 0).wait();
    communicator->gather(all, own, 0).wait();
    communicator->scatter(own, all, 0).wait();
    EXPECT_EQ(own.sum().item<float>(), 8);
    if (rank != 0) return;
    EXPECT_EQ(sum.sum().item<float>(), 8 * ranks);
    EXPECT_EQ(all.sum().item<float>(), 8 * ranks);
  });
}

TEST(CudaCommunicator, ChoosesForRanksOnOneGpu) {
  MUSTER_NEEDS_GPUS(1);
  run_well_in({"auto", 2}, [](int, Communicator& host) {
    const auto communicator = shadow_of(host, {"auto", 2});
    check_asynchronous(*communicator);
  });
}

TEST(CudaCommunicator, RefusesNcclForRanksOnOneGpuOnAllOfThem) {
  MUSTER_NEEDS_GPUS(1);
  run_well_in({"nccl", 2}, [](int rank, Communicator& host) {
    EXPECT_THAT(error_of<ConfigError>(rank,
                                      [&] {
                                        make_cuda_communicator(host, options_of({"nccl", 2}, rank));
                                      }),
                HasSubstr("ranks 0 and 1 share a GPU, which NCCL refuses"));
    host.barrier().wait();
  });
}

// On any machine, with a driver or without.
TEST(WithoutGpus, ADeviceThatIsNotThereIsAnError) {
  run_ranks(1, [](int rank, Communicator&) {
    EXPECT_THAT(error_of<InternalError>(rank, [] { internal::CudaDevice device(99); }),
                AllOf(HasSubstr("CUDA: expected cuda"), HasSubstr("nvidia-smi")));
  });
}

// On any machine: that is what a user without a driver sees, on every rank.
TEST(WithoutGpus, EveryRankIsToldWhoHasNone) {
  run_well_in({"auto", 2}, [](int rank, Communicator& host) {
    const CudaOptions options{.device = rank == 1 ? 99 : 0, .timeout = kTimeout};
    const std::string error =
        error_of<ConfigError>(rank, [&] { make_cuda_communicator(host, options); });
    EXPECT_THAT(error, AllOf(HasSubstr("CUDA tensors: expected rank"),
                             HasSubstr("to have a GPU number"), HasSubstr("muster doctor")));
    host.barrier().wait();
  });
}

}  // namespace
}  // namespace muster::testing
