// Snapshots: what they hold, what a death while copying costs, what damage does.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <random>

#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/restore_source.h"
#include "muster/checkpoint/snapshot_env.h"
#include "muster/checkpoint/snapshot_memory.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr int kFirst = 0;  // generations
constexpr int kSecond = 1;

/// The writers of one world.
class World {
 public:
  World(SnapshotMemory& memory, int world_size, int generation,
        const std::optional<SnapshotId>& restored = std::nullopt) {
    for (int rank = 0; rank < world_size; ++rank)
      writers_.emplace_back(memory, rank, world_size, generation, restored);
  }

  void write(int rank, std::int64_t step, const SampleState& state) {
    const int world_size = static_cast<int>(writers_.size());
    writers_[static_cast<std::size_t>(rank)].write(step, shard_of(state, rank, world_size),
                                                   sample_run_state(step));
  }
  void write_all(std::int64_t step, const SampleState& state) {
    for (int rank = 0; rank < static_cast<int>(writers_.size()); ++rank) write(rank, step, state);
  }

 private:
  std::vector<SnapshotWriter> writers_;
};

std::vector<SnapshotId> complete(const SnapshotMemory& memory) {
  return complete_snapshots(memory.sealed_parts());
}

/// "" when the snapshot is this state, to the bit.
std::string difference(const SnapshotMemory& memory, const SnapshotId& id,
                       const SampleState& state) {
  SnapshotEnv env(memory, id);
  const Checkpoint snapshot = Checkpoint::open(env.directory(), env);
  const auto problems = snapshot.verify();
  return problems.empty() ? first_difference(snapshot, state) : problems.front().message;
}

std::int64_t bytes_held(const SnapshotMemory& memory) {
  struct stat info {};
  EXPECT_EQ(fstat(memory.fd(), &info), 0);
  return info.st_blocks * 512;
}

/// Runs `work` in a process of its own, which `work` does not survive; returns its signal.
int signal_that_ends(const std::function<void()>& work) {
  const pid_t pid = fork();
  if (pid == 0) {
    work();
    _exit(0);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

TEST(Snapshot, IsReadAsACheckpointIsWhateverWorldWroteIt) {
  TemporaryDirectory directory;
  const auto env = make_system_env();
  const CheckpointStore store(directory.path(), *env);
  const SampleState state = sample_state(3, /*large=*/true);
  const std::string hash = Checkpoint::open(save(store, state, 5), *env).state_hash();
  for (const int world_size : {1, 2, 3, 4}) {
    const auto memory = SnapshotMemory::create();
    World(*memory, world_size, kFirst).write_all(5, state);
    const SnapshotId id{5, kFirst, world_size};
    ASSERT_THAT(complete(*memory), ElementsAre(id));
    EXPECT_EQ(difference(*memory, id, state), "");
    SnapshotEnv files(*memory, id);
    const Checkpoint snapshot = Checkpoint::open(files.directory(), files);
    EXPECT_EQ(snapshot.state_hash(), hash);
    EXPECT_EQ(snapshot.manifest().run_state, sample_run_state(5));
  }
}

TEST(Snapshot, TheOneBeforeStaysUntilTheNextIsComplete) {
  const auto memory = SnapshotMemory::create();
  World world(*memory, 3, kFirst);
  std::vector<SampleState> states;
  for (std::uint64_t seed = 0; seed < 5; ++seed) states.push_back(tiny_state(seed));
  world.write_all(0, states[0]);
  for (int step = 1; step < 5; ++step) {
    for (int rank = 0; rank < 3; ++rank) {
      const SnapshotId before{step - 1, kFirst, 3};
      ASSERT_EQ(complete(*memory).front(), before) << step << " " << rank;
      ASSERT_EQ(difference(*memory, before, states[static_cast<std::size_t>(step - 1)]), "");
      world.write(rank, step, states[static_cast<std::size_t>(step)]);
    }
    ASSERT_EQ(complete(*memory).front(), (SnapshotId{step, kFirst, 3}));
  }
}

TEST(Snapshot, AWorldOfAnotherSizeGoesOnFromItAndThenItsMemoryIsGivenBack) {
  const SampleState old_state = sample_state(1, /*large=*/true);
  const SampleState new_state = sample_state(2, /*large=*/true);
  for (const int new_size : {1, 2, 4, 6}) {
    const auto memory = SnapshotMemory::create();
    World first(*memory, 4, kFirst);
    first.write_all(4, tiny_state(1));
    first.write_all(5, old_state);
    first.write(2, 6, tiny_state(2));  // dies here
    const SnapshotId old_id{5, kFirst, 4};
    ASSERT_EQ(complete(*memory).front(), old_id);
    World second(*memory, new_size, kSecond, old_id);
    for (int rank = 0; rank < new_size; ++rank) {
      ASSERT_EQ(complete(*memory).front(), old_id) << new_size << " " << rank;
      ASSERT_EQ(difference(*memory, old_id, old_state), "");
      second.write(rank, 6, new_state);
    }
    ASSERT_EQ(complete(*memory).front(), (SnapshotId{6, kSecond, new_size}));
    second.write_all(7, new_state);
    second.write_all(8, new_state);
    EXPECT_EQ(memory->sealed_parts().size(), 2u * static_cast<std::size_t>(new_size));
    const auto env = std::make_unique<SnapshotEnv>(*memory, SnapshotId{8, kSecond, new_size});
    const std::int64_t state_bytes =
        Checkpoint::open(env->directory(), *env).manifest().tensor_bytes();
    // Twice the state, and for each rank twice the header, the text, and pages begun.
    EXPECT_LE(bytes_held(*memory), 2 * state_bytes + new_size * 2 * 32768) << new_size;
  }
}

TEST(Snapshot, ADeathWhileItIsCopiedCostsThatCopyAlone) {
  const auto memory = SnapshotMemory::create();
  World world(*memory, 2, kFirst);
  const SampleState states[] = {sample_state(1, /*large=*/true), sample_state(2, /*large=*/true)};
  world.write_all(1, states[0]);
  world.write_all(2, states[1]);
  // The second half of the last tensor cannot be read.
  const std::size_t half = 4 << 20;
  void* poisoned =
      mmap(nullptr, 2 * half, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  ASSERT_NE(poisoned, MAP_FAILED);
  ASSERT_EQ(mprotect(static_cast<char*>(poisoned) + half, half, PROT_NONE), 0);
  const std::int64_t elements = 2 * static_cast<std::int64_t>(half) / 4;
  const SourceRange source{whole_tensor("w", DType::kFloat32, {elements}), poisoned};
  EXPECT_EQ(signal_that_ends([&] {
              signal(SIGSEGV, SIG_DFL);
              SnapshotWriter writer(*memory, 0, 2, kSecond, SnapshotId{2, kFirst, 2});
              writer.write(3, {&source, 1}, Json());
            }),
            SIGSEGV);
  munmap(poisoned, 2 * half);
  EXPECT_THAT(complete(*memory), ElementsAre(SnapshotId{2, kFirst, 2}));
  EXPECT_EQ(difference(*memory, {2, kFirst, 2}, states[1]), "");
}

TEST(Snapshot, KillsAtRandomTimesLoseNoAcknowledgedStep) {
  const std::uint64_t seed = std::random_device{}();
  std::mt19937_64 random(seed);
  const auto memory = SnapshotMemory::create();
  std::optional<SnapshotId> newest;
  std::vector<SampleState> states;
  for (std::uint64_t i = 0; i < 4; ++i) states.push_back(sample_state(i, /*large=*/true));
  const auto state_of = [&](std::int64_t step) -> const SampleState& {
    return states[static_cast<std::size_t>(step % 4)];
  };
  for (int generation = 0; generation < 30; ++generation) {
    const int world_size = 1 + static_cast<int>(random() % 3);
    int acknowledged[2];
    ASSERT_EQ(pipe(acknowledged), 0);
    const std::int64_t first = newest ? newest->step + 1 : 1;
    const pid_t pid = fork();
    if (pid == 0) {
      World world(*memory, world_size, generation, newest);
      for (std::int64_t step = first;; ++step) {
        world.write_all(step, state_of(step));
        if (write(acknowledged[1], &step, sizeof step) != sizeof step) _exit(1);
      }
    }
    close(acknowledged[1]);
    std::int64_t step = 0;
    ASSERT_EQ(read(acknowledged[0], &step, sizeof step), static_cast<ssize_t>(sizeof step));
    const auto until =
        std::chrono::steady_clock::now() + std::chrono::microseconds(random() % 8000);
    while (std::chrono::steady_clock::now() < until) {
    }
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    for (std::int64_t more; read(acknowledged[0], &more, sizeof more) > 0;) step = more;
    close(acknowledged[0]);
    ASSERT_FALSE(complete(*memory).empty());
    newest = complete(*memory).front();
    ASSERT_GE(newest->step, step) << "seed " << seed << ", generation " << generation;
    ASSERT_LE(newest->step, step + 1) << "seed " << seed << ", generation " << generation;
    ASSERT_EQ(difference(*memory, *newest, state_of(newest->step)), "") << "seed " << seed;
  }
}

void flip_bit(const SnapshotMemory& memory, off_t offset) {
  char byte = 0;
  ASSERT_EQ(pread(memory.fd(), &byte, 1, offset), 1);
  byte = static_cast<char>(byte ^ 4);
  ASSERT_EQ(pwrite(memory.fd(), &byte, 1, offset), 1);
}

TEST(Snapshot, EveryFlippedBitIsFound) {
  const SampleState state = tiny_state(1);
  const auto memory = SnapshotMemory::create();
  World(*memory, 1, kFirst).write_all(1, state);
  const SnapshotId id{1, kFirst, 1};
  const SnapshotPart part = memory->sealed_parts().front();
  const auto is_whole = [&] {
    if (complete(*memory) != std::vector<SnapshotId>{id}) return false;
    try {
      return difference(*memory, id, state).empty();
    } catch (const CheckpointError&) {
      return false;
    }
  };
  const auto flipped_is_found = [&](off_t offset) {
    flip_bit(*memory, offset);
    const bool found = !is_whole();
    flip_bit(*memory, offset);
    return found;
  };
  ASSERT_TRUE(is_whole());
  for (off_t at = 0; at < 56; ++at) EXPECT_TRUE(flipped_is_found(at)) << "header " << at;
  for (off_t at = 0; at < part.data_bytes + part.text_bytes; at += 7)
    EXPECT_TRUE(flipped_is_found(4096 + at)) << at;
  ASSERT_TRUE(is_whole());
}

TEST(Snapshot, OnlyTheLaunchersMemoryIsTaken) {
  EXPECT_THROW(SnapshotMemory::attach(-1), ConfigError);
  EXPECT_THROW(SnapshotMemory::attach(STDERR_FILENO), ConfigError);
  const int small = memfd_create("small", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  EXPECT_THROW(SnapshotMemory::attach(small), ConfigError);
  close(small);
}

class Restorable : public ::testing::Test {
 protected:
  std::optional<TierState> find(
      int generation = kSecond,
      const NeededStep& needed = [](const Json&) { return std::optional<std::int64_t>(); }) {
    return TierSearch(store_, *env_, memory_.get(), generation, needed).next();
  }

  TemporaryDirectory directory_;
  const std::unique_ptr<Env> env_ = make_system_env();
  const CheckpointStore store_{directory_.path(), *env_};
  const std::unique_ptr<SnapshotMemory> memory_ = SnapshotMemory::create();
  const SampleState state_ = tiny_state(1);
};

TEST_F(Restorable, IsTheNewestOfMemoryAndDisk) {
  EXPECT_EQ(find(), std::nullopt);
  save(store_, state_, 4);
  EXPECT_EQ(find(), (TierState{Tier::kDisk, 4}));
  World world(*memory_, 2, kFirst);
  world.write_all(4, state_);
  EXPECT_EQ(find(), (TierState{Tier::kMemory, 4, kFirst, 2}));
  world.write_all(6, state_);
  EXPECT_EQ(find(), (TierState{Tier::kMemory, 6, kFirst, 2}));
  save(store_, state_, 7);
  EXPECT_EQ(find(), (TierState{Tier::kDisk, 7}));
  // Not what the asking generation wrote itself.
  save(store_, state_, 5);
  store_.remove({7});
  EXPECT_EQ(find(kFirst), (TierState{Tier::kDisk, 5}));
}

TEST_F(Restorable, WhatIsDamagedIsToldAndPassedOver) {
  save(store_, state_, 3);
  World(*memory_, 1, kFirst).write_all(4, state_);
  flip_bit(*memory_, 4096);
  ::testing::internal::CaptureStderr();
  EXPECT_EQ(find(), (TierState{Tier::kDisk, 3}));
  EXPECT_THAT(::testing::internal::GetCapturedStderr(),
              HasSubstr("the snapshot of step 4 in memory is not used"));
  flip_bit(*memory_, 4096);
  EXPECT_EQ(find(), (TierState{Tier::kMemory, 4, kFirst, 1}));

  // The bytes of a checkpoint are for who reads it to reject.
  save(store_, state_, 5);
  TierSearch search(store_, *env_, memory_.get(), kSecond,
                    [](const Json&) { return std::nullopt; });
  EXPECT_EQ(search.next(), (TierState{Tier::kDisk, 5}));
  search.reject("a bit is wrong");
  EXPECT_TRUE(std::filesystem::exists(directory_.path() / "step-00000005.damaged"));
  EXPECT_EQ(search.next(), (TierState{Tier::kMemory, 4, kFirst, 1}));
  search.reject("a bit is wrong");
  EXPECT_EQ(search.next(), (TierState{Tier::kDisk, 3}));
  EXPECT_EQ(search.next(), std::nullopt);
}

TEST_F(Restorable, ASnapshotWithoutTheCheckpointThatItNeedsIsPassedOver) {
  save(store_, state_, 3);
  World(*memory_, 1, kFirst).write_all(6, state_);
  const auto needs = [](std::int64_t step) {
    return [step](const Json&) { return std::optional<std::int64_t>(step); };
  };
  EXPECT_EQ(find(kSecond, needs(5)), (TierState{Tier::kDisk, 3}));
  EXPECT_EQ(find(kSecond, needs(3)), (TierState{Tier::kMemory, 6, kFirst, 1}));
}

}  // namespace
}  // namespace muster::checkpoint
