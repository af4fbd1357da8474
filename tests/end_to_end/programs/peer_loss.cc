// peer_loss TRANSPORT VICTIM: all ranks meet, the victim kills itself, and each survivor says what
// it was told and how soon.
#include <ATen/ops/zeros.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace {

using Clock = std::chrono::steady_clock;

void reduce_for_ever(muster::Communicator& communicator) {
  const at::Tensor tensor = at::zeros({1 << 20});
  for (;;) communicator.all_reduce(tensor).wait();
}

}  // namespace

int main(int, char** argv) {
  const muster::RankEnv env = muster::RankEnv::from_environment();
  muster::World world =
      muster::World::create(env, {.transport = argv[1], .timeout = std::chrono::seconds(20)});
  // Ranks leave the barrier together, so that its end stands for the time of death.
  world.communicator().barrier().wait();
  const Clock::time_point death = Clock::now();
  if (env.rank == std::atoi(argv[2])) raise(SIGKILL);
  try {
    reduce_for_ever(world.communicator());
  } catch (const muster::PeerLost& error) {
    const auto elapsed =
        std::chrono::duration_cast<std::chrono::milliseconds>(Clock::now() - death);
    std::printf("survivor %d after %lld ms: %s\n", env.rank,
                static_cast<long long>(elapsed.count()), error.what());
    std::fflush(stdout);
    std::_Exit(0);  // MPI's exit handlers may wait for the dead
  }
}
