// All of them, one after another and at once.
#include "collectives/checks/operation_checks.h"

#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <vector>

namespace muster::testing {

namespace {

constexpr std::int64_t kVectorBytes = 64;
constexpr std::int64_t kPageBytes = 4096;

/// Around the edges of vectors and pages of the dtype, and many chunks. Of symmetric memory, which
/// matters to large operations, fewer.
std::vector<std::int64_t> sizes_for(at::ScalarType dtype, Memory memory) {
  const std::int64_t after_page =
      kPageBytes / static_cast<std::int64_t>(c10::elementSize(dtype)) + 1;
  if (memory == Memory::kSymmetric && dtype == at::kFloat)
    return {1, after_page, large_size(dtype)};
  if (memory == Memory::kSymmetric) return {after_page, 5 * after_page};
  std::vector<std::int64_t> sizes = {0, 1};
  for (const std::int64_t edge_bytes : {kVectorBytes, kPageBytes}) {
    const std::int64_t edge = edge_bytes / static_cast<std::int64_t>(c10::elementSize(dtype));
    sizes.insert(sizes.end(), {edge - 1, edge, edge + 1});
  }
  sizes.push_back(large_size(dtype));
  return sizes;
}

}  // namespace

void check_asynchronous(Communicator& communicator) {
  std::vector<at::Tensor> tensors;
  std::vector<Work> works;
  for (int i = 0; i < 20; ++i) {
    tensors.push_back(at::full({i * 1000}, communicator.rank() + i, at::kFloat));
    works.push_back(communicator.all_reduce(tensors.back()));
  }
  for (int i = 19; i >= 0; --i) {
    works[static_cast<std::size_t>(i)].wait();
    EXPECT_TRUE(works[static_cast<std::size_t>(i)].done());
    const int world_size = communicator.world_size();
    const float expected = static_cast<float>(world_size * i + world_size * (world_size - 1) / 2);
    EXPECT_TRUE(at::equal(tensors[static_cast<std::size_t>(i)],
                          at::full({i * 1000}, expected, at::kFloat)));
  }
}

void check_split(Communicator& communicator) {
  const int rank = communicator.rank();
  const int world_size = communicator.world_size();
  const auto parity = communicator.split(rank % 2, -rank);
  const auto few = communicator.split(rank < 2 ? 7 : -1, 0);
  ASSERT_NE(parity, nullptr);
  EXPECT_EQ(few != nullptr, rank < 2);
  const int members = (world_size + (rank % 2 == 0 ? 1 : 0)) / 2;
  EXPECT_EQ(parity->world_size(), members);
  EXPECT_EQ(parity->rank(), members - 1 - rank / 2);

  // In flight on all three at once.
  at::Tensor of_all = at::full({100000}, rank, at::kLong);
  at::Tensor of_parity = parity->allocate_symmetric(50000, at::kLong).fill_(rank);
  at::Tensor of_few = at::full({10}, rank + 1, at::kLong);
  std::vector<Work> works = {communicator.all_reduce(of_all), parity->all_reduce(of_parity)};
  if (few) works.push_back(few->all_reduce(of_few));
  for (Work& work : works) work.wait();
  std::int64_t parity_sum = 0;
  for (int r = rank % 2; r < world_size; r += 2) parity_sum += r;
  EXPECT_TRUE(of_all.eq(world_size * (world_size - 1) / 2).all().item<bool>());
  EXPECT_TRUE(of_parity.eq(parity_sum).all().item<bool>());
  if (few) {
    EXPECT_TRUE(of_few.eq(few->world_size() == 2 ? 3 : 1).all().item<bool>());
  }

  const auto alone = parity->split(parity->rank(), 0);
  EXPECT_EQ(alone->world_size(), 1);
  alone->barrier().wait();
}

void check_operations_at(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype) {
  for (const bool in_place : {false, true}) {
    check_all_reduce(communicator, memory, numel, dtype, in_place);
    check_reduce(communicator, memory, numel, dtype, in_place);
    check_reduce_scatter(communicator, memory, numel, dtype, in_place);
    check_all_gather(communicator, memory, numel, dtype, in_place);
    check_scatter(communicator, memory, numel, dtype, in_place);
    check_gather(communicator, memory, numel, dtype, in_place);
  }
  check_all_gather_counts(communicator, memory, numel, dtype);
  check_broadcast(communicator, memory, numel, dtype);
  check_all_to_all(communicator, memory, numel, dtype);
  check_all_to_all_counts(communicator, memory, numel, dtype);
  check_send_and_recv(communicator, memory, numel, dtype);
}

void check_canonical_at(Communicator& communicator, Memory memory, std::int64_t numel,
                        at::ScalarType dtype, int logical_ranks) {
  check_canonical_all_reduce(communicator, memory, numel, dtype, logical_ranks);
  for (const bool in_place : {false, true}) {
    check_canonical_reduce_scatter(communicator, memory, numel / 4, dtype, logical_ranks, in_place);
  }
}

void check_all_operations(Communicator& communicator, at::ScalarType dtype) {
  const bool canonical = dtype == at::kFloat || dtype == at::kDouble || dtype == at::kLong;
  for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
    for (const std::int64_t numel : sizes_for(dtype, memory)) {
      check_operations_at(communicator, memory, numel, dtype);
      if (!canonical) continue;
      check_canonical_at(communicator, memory, numel, dtype, 7);
      if (numel == large_size(dtype)) continue;  // the reference sums are slow
      check_canonical_at(communicator, memory, numel, dtype, 4);
      check_canonical_at(communicator, memory, numel, dtype, 5);
    }
  }
  communicator.barrier().wait();
}

}  // namespace muster::testing
