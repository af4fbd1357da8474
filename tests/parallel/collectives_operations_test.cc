// Every operation through World::create, under whatever started this program: muster run, mpirun,
// or nobody. MUSTER_TEST_TRANSPORT picks the transport (auto when unset), and
// MUSTER_TEST_EXPECTED_TRANSPORT says what auto is to come to where it is not shared memory. With
// MUSTER_TEST_DEVICE=staged tensors are those of a device, by way of the host.
#include <ATen/Parallel.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <utility>

#include "collectives/checks/operation_checks.h"
#include "collectives/lazy_device.h"
#include "device/staged_transport.h"
#include "muster/base/error.h"
#include "muster/base/rank_env.h"
#include "muster/collectives/world.h"
#include "queued_communicator.h"

namespace muster::testing {
namespace {

std::string wanted_transport() {
  const char* wanted = std::getenv("MUSTER_TEST_TRANSPORT");
  return wanted == nullptr ? "auto" : wanted;
}

// Over the same ranks, if asked for; else nothing.
std::unique_ptr<Communicator> on_device(Communicator& world) {
  const char* wanted = std::getenv("MUSTER_TEST_DEVICE");
  if (wanted == nullptr || std::string(wanted) != "staged") return nullptr;
  constexpr std::int64_t kHalfBytes = 256 * 1024;  // so that there are several pieces
  const auto device = std::make_shared<LazyDevice>();
  return dynamic_cast<internal::QueuedCommunicator&>(world).on_device(
      at::kCPU, std::chrono::seconds(30),
      [&](std::unique_ptr<internal::Transport> host, const internal::OperationRun&) {
        return std::make_unique<internal::StagedTransport>(std::move(host), device, world.rank(),
                                                           world.world_size(), kHalfBytes);
      });
}

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test
World* g_world = nullptr;
std::string g_transport;

TEST(CollectivesOperations, JoinTheWorldOfTheEnvironment) {
  const RankEnv env = RankEnv::from_environment();
  EXPECT_EQ(g_communicator->rank(), env.rank);
  EXPECT_EQ(g_communicator->world_size(), env.world_size);
}

TEST(CollectivesOperations, UseTheExpectedTransport) {
  const char* expected = std::getenv("MUSTER_TEST_EXPECTED_TRANSPORT");
  const std::string automatic = g_communicator->world_size() == 1 ? "single" : "shm";
  const std::string usual = wanted_transport() == "auto" ? automatic : wanted_transport();
  EXPECT_EQ(g_transport, expected == nullptr ? usual : expected);
}

TEST(CollectivesOperations, KnowWhoseMemoryTheyReach) {
  const int ranks = g_communicator->world_size();
  std::vector<int> expected;
  for (int r = 0; r < ranks; ++r) {
    if (g_transport != "mpi" || r == g_communicator->rank()) expected.push_back(r);
  }
  if (g_transport == "nodes") {
    EXPECT_LT(g_communicator->ranks_sharing_memory().size(), expected.size());
  } else {
    EXPECT_EQ(g_communicator->ranks_sharing_memory(), expected);
  }
}

class GiveExact : public ::testing::TestWithParam<at::ScalarType> {};

TEST_P(GiveExact, Results) { check_all_operations(*g_communicator, GetParam()); }

INSTANTIATE_TEST_SUITE_P(CollectivesOperations, GiveExact, ::testing::ValuesIn(kReducibleDtypes),
                         [](const auto& given) { return std::string(c10::toString(given.param)); });

TEST(CollectivesOperations, MoveOtherDtypesToo) {
  check_all_gather(*g_communicator, Memory::kOrdinary, 4097, at::kComplexDouble, false);
  check_broadcast(*g_communicator, Memory::kOrdinary, 4097, at::kComplexDouble);
}

/// Elements of a tensor that skips every other one.
at::Tensor with_gaps(std::int64_t numel) { return at::empty({numel, 2}).select(1, 0); }

TEST(CollectivesOperations, RefuseEveryTensorWithGapsBeforeAnythingIsSent) {
  Communicator& c = *g_communicator;
  constexpr std::int64_t kOne = 4;
  const int ranks = c.world_size();
  const std::int64_t all = kOne * ranks;
  const std::vector<std::int64_t> counts(static_cast<std::size_t>(ranks), kOne);
  const ReductionTree tree(ranks);
  const at::Tensor one = at::empty({kOne}), whole = at::empty({all});
  const at::Tensor bad_one = with_gaps(kOne), bad_whole = with_gaps(all);
  const int root = c.rank();  // so that both tensors of each rank count
  using Act = std::function<void()>;
  std::vector<std::pair<const char*, Act>> calls = {
      {"all_reduce, input", [&] { c.all_reduce(one, bad_one, ReduceOp::kSum); }},
      {"all_reduce, output", [&] { c.all_reduce(bad_one, one, ReduceOp::kSum); }},
      {"reduce, input", [&] { c.reduce(one, bad_one, root); }},
      {"reduce, output", [&] { c.reduce(bad_one, one, root); }},
      {"reduce_scatter, input", [&] { c.reduce_scatter(one, bad_whole); }},
      {"reduce_scatter, output", [&] { c.reduce_scatter(bad_one, whole); }},
      {"all_gather, input", [&] { c.all_gather(whole, bad_one); }},
      {"all_gather, output", [&] { c.all_gather(bad_whole, one); }},
      {"all_gather with counts, input", [&] { c.all_gather(whole, bad_one, counts); }},
      {"all_gather with counts, output", [&] { c.all_gather(bad_whole, one, counts); }},
      {"broadcast", [&] { c.broadcast(bad_one, root); }},
      {"scatter, input", [&] { c.scatter(one, bad_whole, root); }},
      {"scatter, output", [&] { c.scatter(bad_one, whole, root); }},
      {"gather, input", [&] { c.gather(whole, bad_one, root); }},
      {"gather, output", [&] { c.gather(bad_whole, one, root); }},
      {"all_to_all, input", [&] { c.all_to_all(whole, bad_whole); }},
      {"all_to_all, output", [&] { c.all_to_all(bad_whole, whole); }},
      {"all_to_all with counts, input", [&] { c.all_to_all(whole, counts, bad_whole, counts); }},
      {"all_to_all with counts, output", [&] { c.all_to_all(bad_whole, counts, whole, counts); }},
      {"canonical_all_reduce", [&] { c.canonical_all_reduce({bad_one}, tree); }},
      {"canonical_reduce_scatter, partial",
       [&] { c.canonical_reduce_scatter(one, {bad_whole}, tree); }},
      {"canonical_reduce_scatter, output",
       [&] { c.canonical_reduce_scatter(bad_one, {whole}, tree); }}};
  if (ranks > 1) {
    const int peer = (c.rank() + 1) % ranks;
    calls.emplace_back("send", [&c, bad_one, peer] { c.send(bad_one, peer); });
    calls.emplace_back("recv", [&c, bad_one, peer] { c.recv(bad_one, peer); });
  }
  for (const auto& [title, act] : calls) {
    try {
      act();
      ADD_FAILURE() << title << " was not refused";
    } catch (const ConfigError& error) {
      EXPECT_NE(std::string(error.what()).find("a contiguous tensor"), std::string::npos)
          << title << ": " << error.what();
    }
  }
  c.barrier().wait();
}

TEST(CollectivesOperations, RefuseAnotherCountForARankThanFromIt) {
  const auto own = static_cast<std::size_t>(g_communicator->rank());
  std::vector<std::int64_t> input_counts(static_cast<std::size_t>(g_communicator->world_size()), 2);
  std::vector<std::int64_t> output_counts = input_counts;
  output_counts[own] = 1000000;
  const std::int64_t others = 2 * (g_communicator->world_size() - 1);
  EXPECT_THROW(g_communicator->all_to_all(at::empty({others + output_counts[own]}), output_counts,
                                          at::empty({others + input_counts[own]}), input_counts),
               ConfigError);
  g_communicator->barrier().wait();
}

// The sum would be written where other ranks still read.
TEST(CollectivesOperations, RefusePartialsThatOverlapTheirSum) {
  const int ranks = g_communicator->world_size();
  const ReductionTree tree(2 * ranks + 1);  // on several ranks, several subtrees of one at least
  const auto subtrees =
      tree.subtrees_by_rank(ranks)[static_cast<std::size_t>(g_communicator->rank())];
  const at::Tensor memory = at::empty({200});
  std::vector<at::Tensor> partials;
  for (std::size_t i = 0; i < subtrees.size(); ++i) {
    partials.push_back(memory.narrow(0, static_cast<std::int64_t>(i), 100));
  }
  if (partials.size() > 1) {
    EXPECT_THROW(g_communicator->canonical_all_reduce(partials, tree), ConfigError);
  }
  g_communicator->barrier().wait();
}

TEST(CollectivesOperations, Split) { check_split(*g_communicator); }
TEST(CollectivesOperations, RunInFlight) { check_asynchronous(*g_communicator); }

// As many elements as a rank takes in several pieces between nodes, of every rank, from all at
// once.
TEST(CollectivesOperations, AWindowIsReadWithoutTheOthersHelp) {
  constexpr std::int64_t kNumel = (std::int64_t{5} << 20) + 5;
  const int ranks = g_communicator->world_size();
  const std::unique_ptr<Window> window = g_communicator->open_window(kNumel, at::kInt);
  ASSERT_EQ(window->own().numel(), kNumel);
  EXPECT_EQ(window->own().sum().item<std::int64_t>(), 0);
  for (int round = 1; round <= 2; ++round) {
    const auto first_of = [&](int rank) { return round * 1000003 * (rank + 1); };
    at::Tensor own = window->own();
    const int first = first_of(g_communicator->rank());
    own.copy_(at::arange(first, first + kNumel, at::kInt));
    g_communicator->barrier().wait();
    std::vector<at::Tensor> whole, parts;
    std::vector<Work> works;
    for (int from = 0; from < ranks; ++from) {
      whole.push_back(at::empty({round == 1 ? kNumel : 100}, at::kInt));
      works.push_back(window->read(from, 0, whole.back()));
      parts.push_back(at::empty({1000}, at::kInt));
      works.push_back(window->read(from, kNumel - 1000, parts.back()));
      works.push_back(window->read(from, kNumel, at::empty({0}, at::kInt)));
    }
    for (auto work = works.rbegin(); work != works.rend(); ++work) {
      EXPECT_TRUE(work->wait_for(std::chrono::seconds(30)));
      work->wait();
    }
    for (int from = 0; from < ranks; ++from) {
      const auto rank = static_cast<std::size_t>(from);
      const int theirs = first_of(from);
      const std::int64_t read = whole[rank].numel();
      EXPECT_TRUE(at::equal(whole[rank], at::arange(theirs, theirs + read, at::kInt))) << from;
      const std::int64_t end = theirs + kNumel;
      EXPECT_TRUE(at::equal(parts[rank], at::arange(end - 1000, end, at::kInt))) << from;
    }
    g_communicator->barrier().wait();
  }
}

TEST(CollectivesOperations, AReadIsDoneWhetherOrNotAnybodyWaits) {
  constexpr std::int64_t kNumel = 100000;
  const std::unique_ptr<Window> window = g_communicator->open_window(kNumel, at::kInt);
  at::Tensor own = window->own();
  own.fill_(g_communicator->rank());
  g_communicator->barrier().wait();
  const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(30);
  for (int from = 0; from < g_communicator->world_size(); ++from) {
    at::Tensor theirs = at::empty({kNumel}, at::kInt);
    const Work read = window->read(from, 0, theirs);
    while (!read.done() && std::chrono::steady_clock::now() < end) {
    }
    EXPECT_TRUE(read.done()) << from;
    EXPECT_TRUE(theirs.eq(from).all().item<bool>()) << from;
  }
  g_communicator->barrier().wait();
}

TEST(CollectivesOperations, AReadThatOutlivesItsWindowSaysSo) {
  const int other = (g_communicator->rank() + 1) % g_communicator->world_size();
  const std::vector<int> mapped = g_communicator->ranks_sharing_memory();
  std::unique_ptr<Window> window = g_communicator->open_window(100, at::kFloat);
  Work read = window->read(other, 0, at::empty({100}));
  Work forgotten = window->read(other, 0, at::empty({100}));
  g_communicator->barrier().wait();
  window.reset();
  if (std::find(mapped.begin(), mapped.end(), other) != mapped.end()) {
    read.wait();  // a copy, made at once
  } else {
    EXPECT_THROW(read.wait(), UserError);
  }
}

// Though it destroys its copy of the world, as it does when it returns from main().
TEST(CollectivesOperations, AChildThatEndsLeavesTheWorldToItsParent) {
  const int last = g_communicator->world_size() - 1;
  std::unique_ptr<Window> window = g_communicator->open_window(10, at::kInt);
  at::Tensor own = window->own();
  own.fill_(g_communicator->rank());
  const pid_t child = fork();
  if (child == 0) {
    alarm(10);
    window.reset();
    { const World copy = std::move(*g_world); }
    _exit(0);
  }
  int status = -1;
  EXPECT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
  g_communicator->barrier().wait();
  at::Tensor read = at::empty({10}, at::kInt);
  window->read(last, 0, read).wait();
  EXPECT_TRUE(read.eq(last).all().item<bool>());
  g_communicator->barrier().wait();  // nobody closes before all have read
}

TEST(CollectivesOperations, AWindowNamesWhatDoesNotFit) {
  EXPECT_THROW(g_communicator->open_window(-1, at::kFloat), ConfigError);
  const std::unique_ptr<Window> window = g_communicator->open_window(10, at::kFloat);
  const at::Tensor two = at::empty({2});
  EXPECT_THROW(window->read(g_communicator->world_size(), 0, two), ConfigError);
  EXPECT_THROW(window->read(-1, 0, two), ConfigError);
  EXPECT_THROW(window->read(0, 9, two), ConfigError);
  EXPECT_THROW(window->read(0, -1, two), ConfigError);
  EXPECT_THROW(window->read(0, 0, at::empty({2}, at::kDouble)), ConfigError);
  EXPECT_THROW(window->read(0, 0, at::empty({4, 4}).t().narrow(0, 0, 2)), ConfigError);
  EXPECT_THROW(window->read(0, 0, at::Tensor()), ConfigError);
  g_communicator->barrier().wait();
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  at::set_num_threads(1);
  muster::World world = muster::World::create(
      muster::RankEnv::from_environment(),
      {.transport = muster::testing::wanted_transport(), .timeout = std::chrono::seconds(30)});
  const auto device = muster::testing::on_device(world.communicator());
  muster::testing::g_communicator = device ? device.get() : &world.communicator();
  muster::testing::g_world = &world;
  muster::testing::g_transport = world.transport();
  return RUN_ALL_TESTS();
}
