// Communication goes on while passes and updates run: a bucket is reduced before the backward pass
// has ended, a block of sharded parameters is fetched before the pass has come to it, and an update
// writes into the memory of all.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "muster/trainer/engine.h"
#include "trainer/test_world.h"
#include "trainer/watched_communicator.h"

namespace muster {
namespace {

using ::testing::ElementsAre;

constexpr int kLayers = 5;
constexpr std::int64_t kWidth = 512;  // a layer fills the smallest bucket

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test

torch::nn::Sequential make_layers() {
  torch::nn::Sequential layers;
  for (int i = 0; i < kLayers; ++i)
    layers->push_back(torch::nn::Linear(torch::nn::LinearOptions(kWidth, kWidth).bias(false)));
  return layers;
}

/// Hears of each layer when a pass comes to it.
using OnLayer = std::function<void(int layer)>;

void make_pass(Engine& engine, torch::nn::Sequential& layers, const OnLayer& forward,
               const OnLayer& backward) {
  torch::Tensor x = torch::ones({2, kWidth});
  for (int i = 0; i < kLayers; ++i) {
    forward(i);
    x = layers->ptr<torch::nn::LinearImpl>(static_cast<std::size_t>(i))->forward(x);
    x.register_hook([&backward, i](const torch::Tensor&) { backward(i); });
  }
  engine.backward(x.square().mean(), 2.0);
}

/// Without a wait(), which would carry it out.
bool ends_by_itself(const Work& work) {
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(60);
  while (!work.done() && std::chrono::steady_clock::now() < deadline) std::this_thread::yield();
  return work.done();
}

class Reductions : public testing::TestWithParam<int> {};

// Where each rank has one micro-step, where some have several, and in the transport's own order.
TEST_P(Reductions, EndWhileTheLastBackwardPassStillRuns) {
  for (const auto& [logical_ranks, reduction] :
       {std::pair{g_communicator->world_size(), Reduction::kExact},
        {5, Reduction::kExact},
        {5, Reduction::kFast}}) {
    SCOPED_TRACE(logical_ranks);
    WatchedCommunicator watched(*g_communicator, /*shared_memory=*/true);
    torch::nn::Sequential layers = make_layers();
    EngineOptions options;
    options.logical_ranks = logical_ranks;
    options.reduction = reduction;
    options.zero_stage = GetParam();
    options.bucket_mib = 1;
    Engine engine(*layers, watched, options);
    for (int step = 0; step < 2; ++step) {
      std::vector<Work> issued;
      watched.on_reduction = [&](const Work& work) { issued.push_back(work); };
      engine.begin_step();
      for (const MicroStep& micro : engine.micro_steps()) {
        engine.begin_micro_step(micro);
        const bool last = &micro == &engine.micro_steps().back();
        const auto check = [&](int layer) {
          // This layer's gradient is still to come, those behind it are there.
          ASSERT_EQ(issued.size(), last ? static_cast<std::size_t>(kLayers - 1 - layer) : 0u);
          EXPECT_TRUE(std::all_of(issued.begin(), issued.end(), ends_by_itself)) << layer;
        };
        make_pass(
            engine, layers, [](int) {}, check);
      }
      EXPECT_EQ(issued.size(), static_cast<std::size_t>(kLayers));
      watched.on_reduction = [](const Work&) {};
      engine.finish_step(0.01);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Zero, Reductions, testing::Values(0, 1, 2, 3));

/// All-gathers of a step at stages 1 and 2.
int gathers_of_a_step(int stage, bool shared_memory) {
  WatchedCommunicator watched(*g_communicator, shared_memory);
  torch::nn::Sequential layers = make_layers();
  EngineOptions options;
  options.logical_ranks = g_communicator->world_size();
  options.zero_stage = stage;
  options.bucket_mib = 1;
  Engine engine(*layers, watched, options);
  int gathers = 0;
  watched.on_gather = [&] { ++gathers; };
  engine.begin_step();
  engine.begin_micro_step(engine.micro_steps().front());
  make_pass(
      engine, layers, [](int) {}, [](int) {});
  engine.finish_step(0.01);
  return gathers;
}

// Whoever updates parameters writes them into the other ranks' in the same pass.
TEST(Updates, AreNotGatheredWhereRanksShareMemory) {
  const int world_size = g_communicator->world_size();
  const bool share = static_cast<int>(g_communicator->ranks_sharing_memory().size()) == world_size;
  if (world_size == 1) GTEST_SKIP() << "for 2 ranks or more";
  for (const int stage : {1, 2}) {
    EXPECT_EQ(gathers_of_a_step(stage, /*shared_memory=*/true), share ? 0 : kLayers) << stage;
    EXPECT_EQ(gathers_of_a_step(stage, /*shared_memory=*/false), kLayers) << stage;
  }
}

/// A pass's course, once its way is known: the layers it comes to, and the units that are fetched.
std::vector<std::string> course_of_a_pass(std::int64_t prefetch_units) {
  WatchedCommunicator watched(*g_communicator, /*shared_memory=*/false);
  torch::nn::Sequential layers = make_layers();
  EngineOptions options;
  options.logical_ranks = g_communicator->world_size();
  options.zero_stage = 3;
  options.prefetch_units = prefetch_units;
  Engine engine(*layers, watched, options);
  std::vector<std::string> course;
  // A layer is a unit, of which each rank has an equal piece; one's own is read first.
  watched.on_read = [&](int from, std::int64_t begin, std::int64_t numel) {
    if (from == g_communicator->rank()) course.push_back("fetch " + std::to_string(begin / numel));
  };
  for (int step = 0; step < 2; ++step) {
    engine.begin_step();
    engine.begin_micro_step(engine.micro_steps().front());
    course.clear();
    make_pass(
        engine, layers, [&](int layer) { course.push_back("forward " + std::to_string(layer)); },
        [&](int layer) { course.push_back("backward " + std::to_string(layer)); });
    engine.finish_step(0.01);
  }
  return course;
}

TEST(Units, AreFetchedBeforeThePassHasComeToThem) {
  EXPECT_THAT(course_of_a_pass(1),
              ElementsAre("forward 0", "fetch 0", "fetch 1", "forward 1", "fetch 2", "forward 2",
                          "fetch 3", "forward 3", "fetch 4", "forward 4", "backward 4",
                          "backward 3", "backward 2", "fetch 1", "backward 1", "backward 0"));
  EXPECT_THAT(course_of_a_pass(2),
              ElementsAre("forward 0", "fetch 0", "fetch 1", "fetch 2", "forward 1", "fetch 3",
                          "forward 2", "fetch 4", "forward 3", "forward 4", "backward 4",
                          "backward 3", "backward 2", "backward 1", "backward 0"));
}

TEST(Units, AreFetchedWhenThePassComesToThemIfNoneIsToBeFetchedAhead) {
  EXPECT_THAT(
      course_of_a_pass(0),
      ElementsAre("forward 0", "fetch 0", "forward 1", "fetch 1", "forward 2", "fetch 2",
                  "forward 3", "fetch 3", "forward 4", "fetch 4", "backward 4", "backward 3",
                  "backward 2", "fetch 2", "backward 1", "fetch 1", "backward 0"));
}

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  muster::World world = muster::make_test_world(std::chrono::seconds(150));
  muster::g_communicator = &world.communicator();
  return RUN_ALL_TESTS();
}
