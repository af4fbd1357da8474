// reduction_bits TRANSPORT: every reduction on random floats of several chunks; each rank prints
// the transport and a hash of what it got, which hangs on nothing but rank and world size.
#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>

#include <cstdio>
#include <cstring>
#include <random>

#include "muster/base/hash.h"
#include "muster/collectives/world.h"

namespace {

constexpr std::int64_t kNumel = 2 * 1024 * 1024 + 77;

/// Random bits with an exponent that keeps sums finite, so that every rounding counts.
at::Tensor random_floats(int rank, int number, std::int64_t numel) {
  std::mt19937 random(static_cast<unsigned>(rank * 100 + number));
  at::Tensor tensor = at::empty({numel});
  float* values = tensor.mutable_data_ptr<float>();
  for (std::int64_t i = 0; i < numel; ++i) {
    const auto bits = static_cast<std::uint32_t>(random());
    const std::uint32_t moderate = (bits & 0x807fffffu) | ((120u + (bits >> 23 & 15u)) << 23);
    std::memcpy(&values[i], &moderate, sizeof(float));
  }
  return tensor;
}

}  // namespace

int main(int, char** argv) {
  const muster::RankEnv env = muster::RankEnv::from_environment();
  muster::World world = muster::World::create(env, {.transport = argv[1]});
  muster::Communicator& communicator = world.communicator();
  muster::Hash128 hash;
  const auto add = [&](const at::Tensor& tensor) {
    hash.update(tensor.const_data_ptr(), tensor.nbytes());
  };

  at::Tensor all = random_floats(env.rank, 0, kNumel);
  communicator.all_reduce(all).wait();
  add(all);

  at::Tensor at_root = at::empty({kNumel});
  const int root = env.world_size - 1;
  communicator.reduce(at_root, random_floats(env.rank, 1, kNumel), root).wait();
  if (env.rank == root) add(at_root);

  at::Tensor slice = at::empty({kNumel});
  communicator.reduce_scatter(slice, random_floats(env.rank, 2, kNumel * env.world_size)).wait();
  add(slice);

  const muster::ReductionTree tree(13);
  const auto hosted = muster::assign_logical_ranks(13, env.world_size);
  std::vector<at::Tensor> partials;
  const auto count = tree.maximal_subtrees(hosted[static_cast<std::size_t>(env.rank)]).size();
  for (std::size_t p = 0; p < count; ++p) {
    partials.push_back(random_floats(env.rank, 3 + static_cast<int>(p), kNumel));
  }
  communicator.canonical_all_reduce(partials, tree).wait();
  add(partials[0]);

  std::printf("rank %d: bits %s by %s\n", env.rank, hash.hex().c_str(), world.transport().c_str());
}
