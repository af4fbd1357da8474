// What a rank holds at each ZeRO stage, by the kernel's account, beside the formulas of the ZeRO
// paper and what was planned; and a model that only stage 3 has room for.
#include <gtest/gtest.h>
#include <malloc.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <cstdint>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"
#include "muster/trainer/memory_plan.h"
#include "trainer/outcome.h"
#include "trainer/test_world.h"
#include "trainer/watched_communicator.h"

namespace muster {
namespace {

constexpr int kLayers = 128;
constexpr std::int64_t kWidth = 384;  // a layer is a bucket, of which a rank may hold three more
constexpr std::int64_t kModelBytes = kLayers * kWidth * kWidth * 4;

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test

torch::nn::Sequential make_model(int layers = kLayers) {
  torch::manual_seed(1);
  torch::nn::Sequential model;
  for (int i = 0; i < layers; ++i)
    model->push_back(torch::nn::Linear(torch::nn::LinearOptions(kWidth, kWidth).bias(false)));
  return model;
}

EngineOptions options_at(int stage, int logical_ranks) {
  EngineOptions options;
  options.zero_stage = stage;
  options.logical_ranks = logical_ranks;
  options.bucket_mib = 1;
  return options;
}

/// Returns the loss. Calls `between_passes` when a forward pass has ended.
double make_step(
    Engine& engine, torch::nn::Sequential& model,
    const std::function<void()>& between_passes = [] {}) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    torch::Tensor x = torch::ones({1, kWidth}) + micro.logical_rank;
    for (torch::nn::AnyModule& layer : *model) x = x + layer.forward(x) / kLayers;
    between_passes();
    engine.backward(x.square().mean(), 1.0);
  }
  return engine.finish_step(1e-4).loss;
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

/// How a rank of several trains.
struct Sharding {
  const char* name;
  int stage;
  bool shared_memory = true;  // else the ranks gather the parameters of stage 3
  bool offload_optimizer = false;
};

/// Rajbhandari et al. 2020, section 5 (figure 1), in float32: 4 bytes a parameter, as many of its
/// gradient, and twice as many of Adam's state. Stage 1 shares the last over the ranks, stage 2 the
/// second too, stage 3 all. An optimizer that is offloaded to where the module is has its own
/// weights and gradients there besides.
double bytes_of_the_paper(const Sharding& sharding, int ranks) {
  constexpr double kParameters = kModelBytes, kGradients = kModelBytes;
  const double optimizer = (sharding.offload_optimizer ? 4.0 : 2.0) * kModelBytes;
  switch (sharding.stage) {
    case 0:
      return kParameters + kGradients + optimizer;
    case 1:
      return kParameters + kGradients + optimizer / ranks;
    case 2:
      return kParameters + (kGradients + optimizer) / ranks;
    default:
      return (kParameters + kGradients + optimizer) / ranks;
  }
}

class Memory : public testing::TestWithParam<Sharding> {};

TEST_P(Memory, OfARankIsWhatThePaperSaysAndWhatWasPlanned) {
  const int world_size = g_communicator->world_size();
  WatchedCommunicator communicator(*g_communicator, GetParam().shared_memory);
  EngineOptions options = options_at(GetParam().stage, world_size);
  options.offload_optimizer = GetParam().offload_optimizer;
  g_communicator->barrier().wait();
  const std::int64_t before = mean_over_ranks(proportional_bytes());
  torch::nn::Sequential model = make_model();
  const MemoryUse planned = plan_memory(*model, options, world_size);
  Engine engine(*model, communicator, options);
  for (int step = 0; step < 2; ++step) make_step(engine, model);
  g_communicator->barrier().wait();  // all have touched what is common
  const auto held = static_cast<double>(mean_over_ranks(proportional_bytes()) - before);
  const double expected = bytes_of_the_paper(GetParam(), world_size);
  EXPECT_NEAR(held, expected, 0.05 * expected);
  const auto total = static_cast<double>(planned.total());
  EXPECT_NEAR(held, total, 0.05 * total);
  g_communicator->barrier().wait();  // nobody frees before all have measured
}

INSTANTIATE_TEST_SUITE_P(
    All, Memory,
    testing::Values(Sharding{"Stage0", 0}, Sharding{"Stage1", 1}, Sharding{"Stage2", 2},
                    Sharding{"Stage3", 3}, Sharding{"Stage3Gathered", 3, /*shared_memory=*/false},
                    Sharding{"Stage2Offloaded", 2, true, /*offload_optimizer=*/true}),
    [](const auto& sharding) { return sharding.param.name; });

// With one unit fetched ahead three are held at a time; the inputs of all layers are together less
// than one.
TEST(Memory, OfAPassThatGathersIsThatOfThreeLayersMore) {
  constexpr std::int64_t kLayerBytes = kModelBytes / kLayers;
  WatchedCommunicator communicator(*g_communicator, /*shared_memory=*/false);
  torch::nn::Sequential model = make_model();
  Engine engine(*model, communicator, options_at(3, communicator.world_size()));
  make_step(engine, model);
  g_communicator->barrier().wait();
  const std::int64_t between = mean_over_ranks(proportional_bytes());
  std::int64_t during = 0;
  make_step(engine, model, [&] { during = proportional_bytes(); });
  const std::int64_t more = mean_over_ranks(during) - between;
  EXPECT_GT(more, 2 * kLayerBytes);
  EXPECT_LT(more, 4 * kLayerBytes);
}

/// While it lives, this process may have no more than `bytes` of address space beyond what it had.
class AddressSpaceLimit {
 public:
  explicit AddressSpaceLimit(std::int64_t bytes) {
    getrlimit(RLIMIT_AS, &before_);
    rlimit limit = before_;
    limit.rlim_cur = static_cast<rlim_t>(proc_bytes("status", "VmSize") + bytes);
    setrlimit(RLIMIT_AS, &limit);
  }
  ~AddressSpaceLimit() { setrlimit(RLIMIT_AS, &before_); }
  AddressSpaceLimit(const AddressSpaceLimit&) = delete;
  AddressSpaceLimit& operator=(const AddressSpaceLimit&) = delete;

 private:
  rlimit before_{};
};

constexpr std::int64_t kUnlimited = std::int64_t{1} << 50;

struct Trained {
  std::vector<double> losses;
  std::string hash;  // of these and of the whole state
};

/// A few steps within `room` bytes of address space, which end before the state is assembled.
Trained train_within(std::int64_t room, Communicator& communicator, int stage) {
  std::optional<AddressSpaceLimit> limit(room);
  torch::nn::Sequential model = make_model();
  Engine engine(*model, communicator, options_at(stage, communicator.world_size()));
  Outcome outcome;
  while (engine.step() < 3) outcome.losses.push_back(make_step(engine, model));
  limit.reset();
  outcome.state = engine.whole_state();
  return {outcome.losses, hash_of(outcome)};
}

// Parameters, gradients and AdamW's state are four times the parameters' bytes.
TEST(Memory, AModelTooLargeForOneRankTrainsAtStageThree) {
  if (g_communicator->world_size() < 4) GTEST_SKIP() << "for 4 ranks";
  World alone = World::create(RankEnv{}, WorldOptions{});
  constexpr std::int64_t kRoom = kModelBytes * 7 / 2;
  EXPECT_ANY_THROW(train_within(kRoom, alone.communicator(), 0));
  g_communicator->barrier().wait();
  const Trained unlimited = train_within(kUnlimited, *g_communicator, 0);
  EXPECT_LT(unlimited.losses.back(), 0.9 * unlimited.losses.front());
  for (const bool shared_memory : {true, false}) {
    SCOPED_TRACE(shared_memory);
    WatchedCommunicator communicator(*g_communicator, shared_memory);
    const Trained limited = train_within(kRoom, communicator, 3);
    EXPECT_EQ(limited.losses, unlimited.losses);
    EXPECT_EQ(limited.hash, unlimited.hash);
  }
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
  muster::World world = muster::make_test_world(std::chrono::seconds(150));
  muster::g_communicator = &world.communicator();
  {  // what the first step of a process needs once and for all
    torch::nn::Sequential model = muster::make_model(/*layers=*/4);
    muster::Engine engine(*model, world.communicator(),
                          muster::options_at(0, world.communicator().world_size()));
    muster::make_step(engine, model);
  }
  return RUN_ALL_TESTS();
}
