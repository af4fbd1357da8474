// Thousands of random operations, and hundreds of random deaths. The whole of it: scripts/stress.
#include <dirent.h>
#include <gtest/gtest.h>
#include <sys/wait.h>

#include <algorithm>
#include <cstdlib>
#include <deque>
#include <fstream>
#include <iostream>
#include <random>
#include <string>
#include <thread>

#include "collectives/faults.h"
#include "collectives/random_operations.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

std::int64_t setting(const char* name, std::int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoll(value);
}

std::uint64_t seed() { return static_cast<std::uint64_t>(setting("MUSTER_STRESS_SEED", 1)); }

/// Operations of one communicator in flight.
class Stream {
 public:
  Stream(Communicator& communicator, std::uint64_t seed) : operations_(communicator, seed) {}

  void issue() {
    if (in_flight_.size() == RandomOperations::kMostInFlight) finish_oldest();
    in_flight_.push_back(operations_.issue());
  }
  void finish_oldest() {
    if (in_flight_.empty()) return;
    IssuedOperation& oldest = in_flight_.front();
    const std::int64_t begin = now_ns();
    for (Work& work : oldest.works) work.wait();
    longest_ = std::max(longest_, since(begin));
    EXPECT_TRUE(oldest.is_right()) << oldest.title;
    in_flight_.pop_front();
  }
  void finish() {
    while (!in_flight_.empty()) finish_oldest();
  }
  milliseconds longest() const { return longest_; }

 private:
  RandomOperations operations_;
  std::deque<IssuedOperation> in_flight_;
  milliseconds longest_{0};
};

// All ranks draw the same, which communicator is next included; whether one waits meanwhile is its
// own affair.
TEST(ShmStress, RandomOperationsOnThreeCommunicatorsAreExact) {
  constexpr int kRanks = 8;
  const std::int64_t operations = setting("MUSTER_STRESS_OPERATIONS", 500);
  std::cout << operations << " operations, seed " << seed() << std::endl;
  SharedNumber longest;
  const auto memory = NodeMemory::create(kRanks, 0);
  const auto body = [&](int rank, Communicator& world) {
    const auto parity = world.split(rank % 2, rank);
    const auto three = world.split(rank % 3, -rank);
    std::vector<Stream> streams;
    for (Communicator* each : {&world, parity.get(), three.get()}) {
      streams.emplace_back(*each, seed() + streams.size());
    }
    std::mt19937_64 common(seed());
    std::mt19937_64 own(seed() + 1000 + static_cast<std::uint64_t>(rank));
    for (std::int64_t i = 0; i < operations && !::testing::Test::HasFailure(); ++i) {
      streams[common() % 3].issue();
      if (own() % 4 == 0) streams[own() % 3].finish_oldest();
    }
    for (Stream& stream : streams) stream.finish();
    for (const Stream& stream : streams) {
      std::int64_t seen = *longest;
      while (seen < stream.longest().count() &&
             !(*longest).compare_exchange_weak(seen, stream.longest().count())) {
      }
    }
  };
  const seconds limit(40 + operations / 25);
  for (const RankEnd& end : run_ranks(*memory, kRanks, seconds(60), body, limit)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
  std::cout << "longest wait " << *longest << " ms" << std::endl;
}

int open_files() {
  int count = 0;
  DIR* directory = opendir("/proc/self/fd");
  while (readdir(directory) != nullptr) ++count;
  closedir(directory);
  return count;
}

bool maps_node_memory() {
  std::ifstream maps("/proc/self/maps");
  for (std::string line; std::getline(maps, line);) {
    if (line.find("muster-node-memory") != std::string::npos) return true;
  }
  return false;
}

/// When a rank dies. Some die while the others already go on without the first.
struct Death {
  int rank;
  std::int64_t after_us;
};

struct Scene {
  int ranks;
  std::vector<Death> deaths;
};

Scene draw_scene(std::mt19937_64& random) {
  const auto draw = [&](int below) {
    return static_cast<int>(random() % static_cast<std::uint64_t>(below));
  };
  Scene scene{2 + draw(5), {}};
  scene.deaths.push_back({draw(scene.ranks), draw(20000)});
  if (scene.ranks > 2 && draw(3) == 0) {
    const int second = (scene.deaths[0].rank + 1 + draw(scene.ranks - 1)) % scene.ranks;
    scene.deaths.push_back({second, scene.deaths[0].after_us + draw(8000)});
  }
  return scene;
}

void die_in_time(const Scene& scene, int rank, SharedNumber& last_death) {
  for (const Death& death : scene.deaths) {
    if (death.rank != rank) continue;
    std::thread([&last_death, death] {
      const std::int64_t begin = now_ns();
      while (now_ns() - begin < 1000 * death.after_us) std::this_thread::yield();
      *last_death = now_ns();
      raise(SIGKILL);
    }).detach();
  }
}

/// Operations on the communicator and on two parts of it, until somebody is lost.
void run_until_lost(Communicator& whole, std::uint64_t seed) {
  const auto parity = whole.split(whole.rank() % 2, 0);
  std::vector<Stream> streams;
  streams.emplace_back(whole, seed);
  streams.emplace_back(*parity, seed + 1);
  std::mt19937_64 common(seed);
  for (;;) streams[common() % 2].issue();
}

// What is left in the end is exact, whatever was in flight; and soon.
TEST(ShmStress, RandomDeathsLeaveNothingButTheSurvivors) {
  const std::int64_t kills = setting("MUSTER_STRESS_KILLS", 25);
  std::cout << kills << " kills, seed " << seed() << std::endl;
  std::mt19937_64 random(seed());
  const int files_before = open_files();
  std::int64_t killed = 0;
  SharedNumber longest;
  while (killed < kills && !HasFailure()) {
    const Scene scene = draw_scene(random);
    const std::size_t deaths = scene.deaths.size();
    const std::uint64_t scene_seed = random();
    SCOPED_TRACE("after " + std::to_string(killed) + " kills: " + std::to_string(scene.ranks) +
                 " ranks");
    SharedNumber last_death;
    const auto memory = NodeMemory::create(scene.ranks, 0);
    const auto body = [&](int rank, Communicator& world) {
      world.barrier().wait();
      die_in_time(scene, rank, last_death);
      std::unique_ptr<Communicator> left;
      const int survivors = world.world_size() - static_cast<int>(deaths);
      do {
        Communicator& current = left ? *left : world;
        error_of<PeerLost>(rank, [&] { run_until_lost(current, scene_seed); });
        left = current.shrink(seconds(10));
      } while (left->world_size() > survivors);
      const std::int64_t took = since(*last_death).count();
      *longest = std::max<std::int64_t>(*longest, took);
      EXPECT_LT(took, 2 * kAtOnce.count());
      Stream stream(*left, scene_seed);
      for (int i = 0; i < 20; ++i) stream.issue();
      stream.finish();
    };
    const auto ends = run_ranks(*memory, scene.ranks, seconds(20), body);
    for (int rank = 0; rank < scene.ranks; ++rank) {
      const bool dies = std::any_of(scene.deaths.begin(), scene.deaths.end(),
                                    [&](const Death& death) { return death.rank == rank; });
      const RankEnd& end = ends[static_cast<std::size_t>(rank)];
      EXPECT_TRUE(dies ? end.signal == SIGKILL : end.exited_well)
          << "rank " << rank << ", signal " << end.signal;
    }
    killed += static_cast<std::int64_t>(deaths);
  }
  std::cout << "longest from the last death to the survivors' communicator " << *longest << " ms"
            << std::endl;
  EXPECT_EQ(waitpid(-1, nullptr, WNOHANG), -1) << "a child is left";
  EXPECT_EQ(open_files(), files_before);
  EXPECT_FALSE(maps_node_memory());
}

}  // namespace
}  // namespace muster::testing
