// Run as each rank of `muster run`: what a rank holds at each ZeRO stage, by the kernel's account,
// beside what was planned; and a model that only stage 3 has room for.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <string>
#include <tuple>

#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/memory_plan.h"

namespace muster {
namespace {

constexpr int kLayers = 20;
constexpr std::int64_t kWidth = 1024;
constexpr std::int64_t kModelBytes = kLayers * kWidth * kWidth * 4;

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test

torch::nn::Sequential make_model() {
  torch::manual_seed(1);
  torch::nn::Sequential model;
  for (int i = 0; i < kLayers; ++i)
    model->push_back(torch::nn::Linear(torch::nn::LinearOptions(kWidth, kWidth).bias(false)));
  return model;
}

EngineOptions options_at(int stage, int logical_ranks) {
  EngineOptions options;
  options.zero_stage = stage;
  options.logical_ranks = logical_ranks;
  options.bucket_mib = 4;
  return options;
}

void make_step(Engine& engine, torch::nn::Sequential& model) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    engine.backward(model->forward(torch::ones({1, kWidth})).square().mean(), 1.0);
  }
  engine.finish_step(1e-4);
}

/// Bytes of a field of a file under /proc/self that counts in kB.
std::int64_t proc_bytes(const std::string& file, const std::string& field) {
  std::ifstream in("/proc/self/" + file);
  for (std::string word; in >> word;) {
    std::int64_t kib = 0;
    if (word == field + ":" && in >> kib) return kib * 1024;
  }
  ADD_FAILURE() << file << " has no " << field;
  return 0;
}

/// This process's memory; of a page that n processes have, the n-th part.
std::int64_t proportional_bytes() {
  malloc_trim(0);
  return proc_bytes("smaps_rollup", "Pss_Anon") + proc_bytes("smaps_rollup", "Pss_Shmem");
}

std::int64_t mean_over_ranks(std::int64_t value) {
  torch::Tensor sum = torch::tensor({value}, torch::kLong);
  g_communicator->all_reduce(sum).wait();
  return sum.item<std::int64_t>() / g_communicator->world_size();
}

/// By stage, and whether weights and gradients of the update are elsewhere.
class Memory : public testing::TestWithParam<std::tuple<int, bool>> {};

TEST_P(Memory, OfARankIsWhatWasPlanned) {
  const int world_size = g_communicator->world_size();
  const auto& [stage, offload] = GetParam();
  EngineOptions options = options_at(stage, world_size);
  options.offload_optimizer = offload;
  g_communicator->barrier().wait();
  const std::int64_t before = mean_over_ranks(proportional_bytes());
  torch::nn::Sequential model = make_model();
  const MemoryUse planned = plan_memory(*model, options, world_size);
  Engine engine(*model, *g_communicator, options);
  for (int step = 0; step < 2; ++step) make_step(engine, model);
  g_communicator->barrier().wait();  // all have touched what is common
  const std::int64_t held = mean_over_ranks(proportional_bytes()) - before;
  EXPECT_NEAR(static_cast<double>(held), static_cast<double>(planned.total()),
              0.05 * static_cast<double>(planned.total()));
  g_communicator->barrier().wait();  // nobody frees before all have measured
}

INSTANTIATE_TEST_SUITE_P(Stage, Memory,
                         testing::Values(std::tuple(0, false), std::tuple(1, false),
                                         std::tuple(2, false), std::tuple(3, false),
                                         std::tuple(2, true)));

/// Runs `work` where this process may have no more than `bytes` of address space beyond what it
/// has.
void with_address_space(std::int64_t bytes, const std::function<void()>& work) {
  rlimit before{};
  getrlimit(RLIMIT_AS, &before);
  rlimit limit = before;
  limit.rlim_cur = static_cast<rlim_t>(proc_bytes("status", "VmSize") + bytes);
  setrlimit(RLIMIT_AS, &limit);
  work();
  setrlimit(RLIMIT_AS, &before);
}

// Parameters, gradients and AdamW's state are four times the parameters' bytes.
TEST(Memory, AModelTooLargeForOneRankTrainsAtStageThree) {
  if (g_communicator->world_size() < 4) GTEST_SKIP() << "for 4 ranks";
  World alone = World::create(RankEnv{}, WorldOptions{});
  constexpr std::int64_t kRoom = kModelBytes * 7 / 2;
  with_address_space(kRoom, [&] {
    torch::nn::Sequential model = make_model();
    EXPECT_ANY_THROW({
      Engine engine(*model, alone.communicator(), options_at(0, 1));
      make_step(engine, model);
    });
  });
  g_communicator->barrier().wait();
  with_address_space(kRoom, [&] {
    torch::nn::Sequential model = make_model();
    Engine engine(*model, *g_communicator, options_at(3, g_communicator->world_size()));
    make_step(engine, model);
    EXPECT_EQ(engine.step(), 1);
  });
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  // What is freed goes back to the system, so that it is not taken for what is held; engines leave
  // that alone where the environment has a word.
  setenv("MALLOC_TRIM_THRESHOLD_", "131072", /*overwrite=*/1);
  mallopt(M_MMAP_THRESHOLD, 1 << 18);
  mallopt(M_ARENA_MAX, 1);
  at::set_num_threads(1);
  muster::World world =
      muster::World::create(muster::RankEnv::from_environment(), muster::WorldOptions{});
  muster::g_communicator = &world.communicator();
  {  // what the first step of a process needs once and for all
    torch::nn::Sequential model = muster::make_model();
    muster::Engine engine(*model, world.communicator(),
                          muster::options_at(0, world.communicator().world_size()));
    muster::make_step(engine, model);
  }
  return RUN_ALL_TESTS();
}
