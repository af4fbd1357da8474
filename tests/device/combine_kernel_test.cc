// The kernel against the CPU's loops: equal bits.
#include <gtest/gtest.h>

#include <cstring>
#include <random>
#include <vector>

#include "collectives/rank_processes.h"
#include "cuda/cuda_device.h"
#include "device/gpu.h"
#include "sum_orders.h"

namespace muster::testing {
namespace {

using internal::Combine;
using internal::CudaDevice;
using internal::Lane;
using internal::ReducePlan;
using internal::SumOrders;

void wait_for(CudaDevice& device) {
  const auto end = device.mark(Lane::kFirst);
  while (!device.reached(end)) {
  }
}

// Any bits at all, at an offset that is aligned or not.
void expect_bits_of_cpu(CudaDevice& device, const ReducePlan& plan, std::int64_t numel,
                        std::int64_t offset_elements) {
  const std::int64_t element_bytes = dtype_bytes(plan.dtype);
  const std::int64_t bytes = numel * element_bytes;
  const std::int64_t offset = offset_elements * element_bytes;
  std::mt19937_64 random(static_cast<unsigned>(plan.sources));
  std::vector<std::vector<std::byte>> sources(static_cast<std::size_t>(plan.sources));
  std::vector<std::shared_ptr<std::byte>> memories;
  std::vector<const std::byte*> on_cpu;
  std::vector<const std::byte*> on_gpu;
  for (auto& source : sources) {
    source.resize(static_cast<std::size_t>(bytes));
    for (std::byte& b : source) b = static_cast<std::byte>(random());
    memories.push_back(device.allocate(bytes + offset));
    device.copy(Lane::kFirst, memories.back().get() + offset, source.data(), bytes);
    on_cpu.push_back(source.data());
    on_gpu.push_back(memories.back().get() + offset);
  }
  std::vector<std::byte> expected(static_cast<std::size_t>(bytes));
  std::byte* const destination = expected.data();
  internal::reduce(plan, on_cpu, {&destination, 1}, numel);
  // To two places, of which one is a source.
  const auto apart = device.allocate(bytes + offset);
  std::byte* const results[] = {memories[0].get() + offset, apart.get() + offset};
  device.reduce(plan, on_gpu, results, numel);
  for (std::byte* result : results) {
    std::vector<std::byte> found(static_cast<std::size_t>(bytes));
    device.copy(Lane::kFirst, found.data(), result, bytes);
    wait_for(device);
    EXPECT_EQ(std::memcmp(found.data(), expected.data(), found.size()), 0)
        << dtype_name(plan.dtype) << ", " << plan.sources << " sources, combination "
        << static_cast<int>(plan.combine) << ", offset " << offset_elements;
  }
}

TEST(CombineKernel, EveryDtypeAndCombinationHasTheBitsOfTheCpu) {
  MUSTER_NEEDS_GPUS(1);
  run_ranks(1, [](int, Communicator&) {
    CudaDevice device(0);
    for (const DType dtype :
         {DType::kFloat32, DType::kFloat64, DType::kFloat16, DType::kBFloat16, DType::kInt8,
          DType::kInt16, DType::kInt32, DType::kInt64, DType::kUInt8}) {
      const bool is_float = static_cast<int>(dtype) <= static_cast<int>(DType::kBFloat16);
      for (const Combine combine : {Combine::kSum, Combine::kMin, Combine::kMax, Combine::kProduct,
                                    Combine::kBitAnd, Combine::kBitOr}) {
        if (is_float && combine >= Combine::kBitAnd) continue;
        for (const int ranks : {1, 2, 3, 4, 8}) {
          SumOrders orders(ranks);
          const auto& order = orders.of_ranks();
          const int divisor = is_float && combine == Combine::kSum ? ranks : 1;
          const ReducePlan plan{combine, dtype, order.sources, order.additions, divisor};
          expect_bits_of_cpu(device, plan, 1003, 0);
          expect_bits_of_cpu(device, plan, 1003, 1);
        }
      }
    }
  });
}

TEST(CombineKernel, TreesOfManySubtreesAndManyElementsHaveTheBitsOfTheCpu) {
  MUSTER_NEEDS_GPUS(1);
  run_ranks(1, [](int, Communicator&) {
    CudaDevice device(0);
    for (const int logical_ranks : {5, 13, 64, 1000003}) {
      for (const int world_size : {2, 3, 5}) {
        SumOrders orders(world_size);
        const auto& order = orders.of(ReductionTree(logical_ranks));
        const ReducePlan plan{Combine::kSum, DType::kFloat32, order.sources, order.additions, 1};
        expect_bits_of_cpu(device, plan, 100003, 0);
      }
    }
    // More than one grid's worth of threads.
    const ReducePlan two{Combine::kSum, DType::kFloat32, 2, {{0, 1, 2}}, 1};
    expect_bits_of_cpu(device, two, 70'000'001, 0);
  });
}

}  // namespace
}  // namespace muster::testing
