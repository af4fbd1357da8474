// peer_loss TRANSPORT VICTIM DIRECTORY: all ranks meet, the victim kills itself, and each survivor
// says what it was told and how soon. They leave once all have said so, for which each makes a file
// in DIRECTORY: to mpirun a rank that leaves without MPI_Finalize is one more death, and after some
// of them it ends the others.
#include <ATen/ops/zeros.h>
#include <signal.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <thread>

#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace {

using Clock = std::chrono::steady_clock;

void reduce_for_ever(muster::Communicator& communicator) {
  const at::Tensor tensor = at::zeros({1 << 20});
  for (;;) communicator.all_reduce(tensor).wait();
}

void wait_for_survivors(const std::filesystem::path& directory, int rank, int survivors) {
  std::ofstream(directory / ("survivor-" + std::to_string(rank))) << "told\n";
  const auto told = [&] {
    using Files = std::filesystem::directory_iterator;
    int count = 0;
    for (const auto& file : Files(directory)) {
      count += file.path().filename().string().starts_with("survivor-") ? 1 : 0;
    }
    return count;
  };
  const Clock::time_point deadline = Clock::now() + std::chrono::seconds(10);
  while (told() < survivors && Clock::now() < deadline) {
    std::this_thread::sleep_for(std::chrono::milliseconds(2));
  }
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
    wait_for_survivors(argv[3], env.rank, env.world_size - 1);
    std::_Exit(0);  // MPI's exit handlers may wait for the dead
  }
}
