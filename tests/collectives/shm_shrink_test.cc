// Going on with the ranks that are left: who they are, and that their results are exact.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <random>
#include <string>
#include <thread>

#include "collectives/faults.h"
#include "muster/base/error.h"

namespace muster::testing {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr auto kPeerTimeout = milliseconds(20000);
constexpr auto kShrinkDeadline = milliseconds(10000);

/// Small, staged and direct; the canonical forms give the bits that one rank alone gives.
void check_results(Communicator& communicator) {
  for (const Memory memory : {Memory::kOrdinary, Memory::kSymmetric}) {
    check_operations_at(communicator, memory, 1000, at::kFloat);
    check_canonical_at(communicator, memory, 4096, at::kFloat, 7);
  }
  check_canonical_all_reduce(communicator, Memory::kOrdinary, 100000, at::kFloat, 5);
}

void expect_all_but(const std::vector<int>& victims, const std::vector<RankEnd>& ends) {
  for (int rank = 0; rank < static_cast<int>(ends.size()); ++rank) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    const bool victim = std::find(victims.begin(), victims.end(), rank) != victims.end();
    EXPECT_TRUE(victim ? end.signal == SIGKILL : end.exited_well)
        << "rank " << rank << ", signal " << end.signal;
  }
}

// One rank dies in some operation, the others go on, the next dies in the next generation.
TEST(ShmShrink, GoesOnAfterADeathInAnyOperationAndAfterAnother) {
  int delay_us = 0;
  for (const Way& way : every_operation_in_every_way()) {
    SCOPED_TRACE(way.title);
    delay_us = (delay_us * 7 + 131) % 2000;
    const auto memory = NodeMemory::create(4, 0);
    const auto run_until_lost = [&](Communicator& communicator, int victim) {
      Call call = way.call;
      // Transfers go round.
      call.peer = (communicator.rank() + 1) % communicator.world_size();
      const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(delay_us);
      Work work = communicator.barrier();
      while (communicator.rank() != victim || std::chrono::steady_clock::now() < end) {
        if (communicator.rank() == victim && !work.done()) continue;
        work.wait();
        if (way.operation.is_transfer()) {
          Call answer = call;
          answer.peer =
              (communicator.rank() + communicator.world_size() - 1) % communicator.world_size();
          answer_to(way.operation).start(communicator, answer);
        }
        work = way.operation.start(communicator, call);
      }
      raise(SIGKILL);
    };
    const auto body = [&](int rank, Communicator& world) {
      error_of<PeerLost>(rank, [&] { run_until_lost(world, 1); });
      const auto three = world.shrink(kShrinkDeadline);
      EXPECT_EQ(three->world_size(), 3);
      EXPECT_EQ(three->rank(), rank == 0 ? 0 : rank - 1);
      EXPECT_EQ(three->generation(), 1);
      EXPECT_THAT(three->previous_ranks(), ElementsAre(0, 2, 3));
      check_canonical_at(*three, Memory::kSymmetric, 4096, at::kFloat, 7);
      const std::string message = error_of<PeerLost>(rank, [&] { run_until_lost(*three, 2); });
      EXPECT_THAT(message, HasSubstr("of generation 1"));
      const auto two = three->shrink(kShrinkDeadline);
      EXPECT_EQ(two->rank(), rank == 0 ? 0 : 1);
      EXPECT_EQ(two->generation(), 2);
      EXPECT_THAT(two->previous_ranks(), ElementsAre(0, 1));
      check_canonical_at(*two, Memory::kOrdinary, 4096, at::kFloat, 7);
    };
    expect_all_but({1, 3}, run_ranks(*memory, 4, kPeerTimeout, body));
  }
}

TEST(ShmShrink, GivesACommunicatorThatCanDoEverything) {
  const auto memory = NodeMemory::create(4, 0);
  const auto body = [&](int rank, Communicator& world) {
    if (rank == 0) raise(SIGKILL);
    EXPECT_EQ(world.generation(), 0);
    EXPECT_THAT(world.previous_ranks(), IsEmpty());
    const auto left = world.shrink(kShrinkDeadline);
    check_results(*left);
    check_split(*left);
    check_asynchronous(*left);
    // What the others called before does not matter.
    EXPECT_THAT(error_of<PeerLost>(rank, [&] { world.barrier().wait(); }),
                HasSubstr("shrink() was called"));
  };
  expect_all_but({0}, run_ranks(*memory, 4, kPeerTimeout, body));
}

// A second rank dies while the others are agreeing, or meeting, or long before it would have come.
TEST(ShmShrink, TakesAnotherRoundWhenMoreAreLostMeanwhile) {
  std::minstd_rand random(1);
  for (int repetition = 0; repetition < 40; ++repetition) {
    const int delay_us = static_cast<int>(random() % 1500);
    SCOPED_TRACE("death after " + std::to_string(delay_us) + " us");
    const auto memory = NodeMemory::create(5, 0);
    const auto body = [&](int rank, Communicator& world) {
      world.barrier().wait();
      if (rank == 3) raise(SIGKILL);
      if (rank == 1) {
        std::thread([&] {
          const auto end = std::chrono::steady_clock::now() + std::chrono::microseconds(delay_us);
          while (std::chrono::steady_clock::now() < end) std::this_thread::yield();
          raise(SIGKILL);
        }).detach();
      }
      auto left = world.shrink(kShrinkDeadline);
      if (left->world_size() == 4) {  // all had met before the second died
        error_of<PeerLost>(rank, [&] {
          for (;;) left->all_reduce(at::zeros({100})).wait();
        });
        left = left->shrink(kShrinkDeadline);
      }
      at::Tensor ranks = at::full({1}, rank, at::kLong);
      EXPECT_EQ(left->world_size(), 3);
      left->all_reduce(ranks).wait();
      EXPECT_EQ(ranks.item<std::int64_t>(), 0 + 2 + 4);
      check_canonical_at(*left, Memory::kSymmetric, 4096, at::kFloat, 7);
    };
    expect_all_but({1, 3}, run_ranks(*memory, 5, kPeerTimeout, body));
  }
}

TEST(ShmShrink, ASilentRankIsOutForGood) {
  const auto memory = NodeMemory::create(3, 0);
  constexpr int kSilent = 1;
  SharedNumber shrunk;
  const auto body = [&](int rank, Communicator& world) {
    world.barrier().wait();
    if (rank == kSilent) raise(SIGSTOP);
    const std::string message =
        error_of<Error>(rank, [&] { world.all_reduce(at::zeros({100000})).wait(); });
    if (rank == kSilent) {
      EXPECT_THAT(message, AllOf(HasSubstr("went on without rank 1 (this one)"),
                                 HasSubstr("all_reduce(sum, Float, 100000 elements)")));
      EXPECT_THAT(error_of<PeerLost>(rank, [&] { world.shrink(kShrinkDeadline); }),
                  HasSubstr("went on without it"));
      return;
    }
    const std::int64_t begin = now_ns();
    const auto left = world.shrink(kPatience);
    EXPECT_GE(since(begin), kPatience / 3);
    EXPECT_LT(since(begin), 3 * kAtOnce);
    EXPECT_THAT(left->previous_ranks(), ElementsAre(0, 2));
    check_results(*left);
    if (++*shrunk == 2) kill(memory->control().slots[kSilent].pid, SIGCONT);
    check_results(*left);
  };
  for (const RankEnd& end : run_ranks(*memory, 3, kPatience, body)) {
    EXPECT_TRUE(end.exited_well);
  }
}

TEST(ShmShrink, AfterAnAbortEverybodyGoesOn) {
  run_ranks(3, [](int rank, Communicator& world) {
    if (rank == 2) {
      world.abort("a fresh start is wanted");
    } else {
      error_of<PeerLost>(rank, [&] { world.barrier().wait(); });
    }
    const auto again = world.shrink(kShrinkDeadline);
    EXPECT_THAT(again->previous_ranks(), ElementsAre(0, 1, 2));
    check_results(*again);
  });
}

// A rank that computes hears of it at its next operation.
TEST(ShmShrink, OneRankCanCallTheOthersTogether) {
  run_ranks(3, [](int rank, Communicator& world) {
    if (rank != 1) {
      EXPECT_THAT(error_of<PeerLost>(rank, [&] { world.barrier().wait(); }),
                  AllOf(HasSubstr("rank 1 ("), HasSubstr("gave up")));
    }
    check_results(*world.shrink(kShrinkDeadline));
  });
}

TEST(ShmShrink, DoesNotWaitForRanksThatLeft) {
  run_ranks(3, [](int rank, Communicator& world) {
    auto part = world.split(0, rank);
    part->barrier().wait();
    if (rank == 1) part.reset();  // the communicator alone
    const std::int64_t begin = now_ns();
    if (rank != 1) {
      EXPECT_THAT(error_of<PeerLost>(rank, [&] { part->barrier().wait(); }),
                  AllOf(HasSubstr("rank 1 ("), HasSubstr("left")));
      const auto left = part->shrink(kShrinkDeadline);
      EXPECT_LT(since(begin), 3 * kAtOnce);
      EXPECT_THAT(left->previous_ranks(), ElementsAre(0, 2));
      check_results(*left);
    }
    world.barrier().wait();
  });
}

// Operations in flight on three communicators when a rank dies.
TEST(ShmShrink, PartsAreShrunkByThemselves) {
  for (int repetition = 0; repetition < 10; ++repetition) {
    const auto memory = NodeMemory::create(6, 0);
    const auto body = [&](int rank, Communicator& world) {
      const auto half = world.split(rank / 3, rank);  // rank 4's death harms the second
      const auto parity = world.split(rank % 2, rank);
      const auto run_on_all = [&] {
        std::vector<Work> works;
        for (int i = 0; i < 20; ++i) {
          works.push_back(half->all_reduce(at::zeros({1000 * i})));
          works.push_back(world.all_reduce(at::zeros({1000 * i})));
          works.push_back(parity->all_gather(at::zeros({30 * i}), at::zeros({10 * i})));
        }
        if (rank == 4) {
          works[static_cast<std::size_t>(repetition) * 6].wait();
          raise(SIGKILL);
        }
        for (Work& work : works) work.wait();
        world.barrier().wait();
      };
      error_of<PeerLost>(rank, run_on_all);
      const auto five = world.shrink(kShrinkDeadline);
      EXPECT_THAT(five->previous_ranks(), ElementsAre(0, 1, 2, 3, 5));
      at::Tensor tensor = at::ones({1000});
      five->all_reduce(tensor).wait();
      EXPECT_TRUE(tensor.eq(5).all().item<bool>());
      if (rank < 3) {
        check_results(*half);
      } else {
        const auto left = half->shrink(kShrinkDeadline);
        EXPECT_THAT(left->previous_ranks(), ElementsAre(0, 2));
        check_results(*left);
      }
      check_split(*five);
    };
    expect_all_but({4}, run_ranks(*memory, 6, kPeerTimeout, body));
  }
}

TEST(ShmShrink, TheLaunchersWordEndsItToo) {
  const auto memory = NodeMemory::create(2, 4);
  const auto body = [&](int rank, Communicator& world) {
    world.barrier().wait();
    if (rank == 1) raise(SIGSTOP);
    std::thread launcher([&] {
      const char* doing = memory->control().slots[0].operation;
      while (std::string_view(doing) != "regroup") std::this_thread::yield();
      memory->end_generation();
    });
    EXPECT_THAT(error_of<PeerLost>(rank, [&] { world.shrink(kShrinkDeadline); }),
                AllOf(HasSubstr("regroup()"), HasSubstr("launcher ended the generation")));
    launcher.join();
    kill(memory->control().slots[1].pid, SIGKILL);
  };
  expect_all_but({1}, run_ranks(*memory, 2, kPeerTimeout, body));
}

std::int64_t bytes_in_use(const NodeMemory& memory) {
  struct stat info {};
  EXPECT_EQ(fstat(memory.fd(), &info), 0);
  return info.st_blocks * 512;
}

// Generation after generation, each with tensors of its own, of which one is left.
TEST(ShmShrink, TheMemoryOfOldGenerationsGoesBack) {
  constexpr std::int64_t kNumel = 1 << 20;
  const auto memory = NodeMemory::create(5, 0);
  const auto body = [&](int rank, Communicator& world) {
    std::unique_ptr<Communicator> communicator;
    Communicator* current = &world;
    for (int victim = 4; victim > 0; --victim) {
      at::Tensor tensor = current->allocate_symmetric(kNumel, at::kFloat);
      current->all_reduce(tensor.fill_(1)).wait();
      check_results(*current);
      if (rank == victim) raise(SIGKILL);
      error_of<PeerLost>(rank, [&] { current->barrier().wait(); });
      auto next = current->shrink(kShrinkDeadline);
      tensor.reset();
      communicator = std::move(next);
      current = communicator.get();
      current->barrier().wait();
    }
    EXPECT_EQ(current->world_size(), 1);
    // The first generation's stays, since `world` does.
    EXPECT_LT(bytes_in_use(*memory), 30 << 20);
    EXPECT_GT(bytes_in_use(*memory), 1 << 20);
  };
  expect_all_but({1, 2, 3, 4}, run_ranks(*memory, 5, kPeerTimeout, body));
  EXPECT_LT(bytes_in_use(*memory), 2 << 20);
}

}  // namespace
}  // namespace muster::testing
