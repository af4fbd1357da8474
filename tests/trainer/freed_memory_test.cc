// Steps take the memory that earlier ones freed.
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <torch/torch.h>

#include <cstdlib>

#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "muster/trainer/engine.h"

namespace muster {
namespace {

long page_faults() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return usage.ru_minflt;
}

// Left alone, malloc takes most of a step's gradients, 4 MiB each, from the system page by page.
TEST(FreedMemory, IsThereForTheNextStep) {
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
  GTEST_SKIP() << "sanitizers bring a malloc of their own";
#endif
  for (const char* name : {"GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_"})
    if (std::getenv(name) != nullptr) GTEST_SKIP() << name << " decides";
  World world = World::create(RankEnv{}, WorldOptions{});
  torch::nn::Sequential model;
  for (int i = 0; i < 8; ++i) model->push_back(torch::nn::Linear(1024, 1024));
  EngineOptions options;
  options.logical_ranks = 1;
  Engine engine(*model, world.communicator(), options);
  const auto make_steps = [&](int steps) {
    for (int i = 0; i < steps; ++i) {
      engine.begin_step();
      engine.begin_micro_step(engine.micro_steps().front());
      engine.backward(model->forward(torch::ones({256, 1024})).square().mean(), 1.0);
      engine.finish_step(1e-4);
    }
  };
  make_steps(5);
  const long before = page_faults();
  make_steps(10);
  constexpr long kPagesOfAGradient = 1024;  // without: 1,250 a step
  EXPECT_LT(page_faults() - before, 10 * kPagesOfAGradient / 2);
}

}  // namespace
}  // namespace muster
