// faults KIND TRANSPORT DIRECTORY [CASE...]: ranks fail at every operation, each on a communicator
// of its own that split() made, and each survivor writes what it was told, and how soon, to
// DIRECTORY (verdicts.h). KIND is one of
//   death      of one rank a case, of 2 + cases ranks in all: the first and the last survive
//   silence    of rank 1 of 3, until the others have given up
//   leaving    of rank 1 of 3, from each communicator and then from the world
//   mismatch   of rank 2 of 3
//   large      CASE, barrier or all_reduce: rank 1 of 3, which holds much memory, dies in it
//   abort      by rank 0 of 3, while the others are in an operation that has ended for it
//   waiter     of rank 1 of 3: woken by an abort from another of its threads
//   daemon     of Open MPI, which started the ranks: they would go on for ever
// It leaves without MPI_Finalize where ranks died or left, once all others have written "end".
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "collectives/disagreements.h"
#include "collectives/every_operation.h"
#include "collectives/large_victim.h"
#include "end_to_end/programs/processes.h"
#include "end_to_end/programs/verdicts.h"
#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace muster::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kSilence = milliseconds(3000);
constexpr auto kAtOnce = milliseconds(1000);
constexpr auto kWhole = milliseconds(20000);  // of the world's operations

// The transfers' numbers are their own.
std::string number_after_a_barrier(const AnyOperation& operation) {
  return operation.is_transfer() ? "operation 0" : "operation 1";
}

// --- Death. The victim of case k is rank k + 1, in a communicator with the first and the last
// rank.

constexpr auto kMiddle = milliseconds(20);  // of a stream of operations: then the victim dies

struct DeathCase {
  AnyOperation operation;
  Call call;
  bool in_the_middle = false;  // of a stream of operations
  bool by_exit = false;        // without leaving
  std::string title;
};

std::vector<DeathCase> death_cases() {
  std::vector<DeathCase> all;
  const auto add = [&](const AnyOperation& operation, const std::string& how) {
    all.push_back({operation, Call{.peer = 1}, false, false, operation.title() + ", " + how});
    return &all.back();
  };
  for (const AnyOperation& operation : every_operation()) {
    add(operation, "killed");
    add(operation, "exited")->by_exit = true;
    if (!operation.has_data()) continue;
    DeathCase* stream = add(operation, "killed in the middle");
    stream->call.numel = 1000000;
    stream->in_the_middle = true;
  }
  return all;
}

// Those who go on with the victim's transfers are ranks 0 and 2; with all else they are one.
void take_part(const DeathCase& way, Communicator& part, milliseconds time) {
  const AnyOperation answer = answer_to(way.operation);
  std::vector<std::pair<Call, Work>> under_way;
  for (const int peer : {0, 2}) {
    if (!under_way.empty() && !answer.is_transfer()) break;
    Call call = way.call;
    call.peer = peer;
    under_way.emplace_back(call, answer.start(part, call));
  }
  const auto end = Clock::now() + time;
  while (Clock::now() < end) {
    for (auto& [call, work] : under_way) {
      if (work.done()) work = answer.start(part, call);
    }
  }
}

[[noreturn]] void die(const DeathCase& way, Communicator& part) {
  part.barrier().wait();
  if (way.in_the_middle) take_part(way, part, kMiddle);
  if (way.by_exit) std::_Exit(0);
  for (;;) raise(SIGKILL);
}

void survive(const DeathCase& way, Communicator& part, Verdicts& verdicts) {
  part.barrier().wait();
  if (way.in_the_middle) {
    verdicts.expect<PeerLost>(way.title, kAtOnce + kMiddle, {"rank 1 (", "died"}, [&] {
      for (;;) way.operation.start(part, way.call).wait();
    });
  } else {
    verdicts.expect<PeerLost>(way.title, kAtOnce,
                              {way.operation.name + "(", number_after_a_barrier(way.operation),
                               "rank 1 (last in barrier, operation 0)", "died"},
                              [&] { way.operation.start(part, way.call).wait(); });
  }
}

void death(Communicator& world, const std::filesystem::path& directory,
           const std::vector<std::string>& wanted) {
  std::vector<DeathCase> ways = death_cases();
  if (!wanted.empty()) {
    std::erase_if(ways, [&](const DeathCase& way) {
      return std::find(wanted.begin(), wanted.end(), way.title) == wanted.end();
    });
  }
  const int last = world.world_size() - 1;
  const bool survives = world.rank() == 0 || world.rank() == last;
  std::vector<std::unique_ptr<Communicator>> parts;
  for (int v = 1; v < last; ++v) {
    parts.push_back(world.split(survives || world.rank() == v ? 0 : -1, 0));
  }
  world.barrier().wait();
  if (!survives) {
    const auto own = static_cast<std::size_t>(world.rank() - 1);
    die(ways[own], *parts[own]);
  }
  {
    Verdicts verdicts(directory, world.rank());
    for (std::size_t k = 0; k < parts.size(); ++k) survive(ways[k], *parts[k], verdicts);
    verdicts.end();
  }
  wait_for_ends(directory, {0, last});
  std::_Exit(0);
}

void death_of_a_large_one(Communicator& world, const std::filesystem::path& directory,
                          const std::string& name) {
  const auto run = [&] {
    (name == "barrier" ? world.barrier() : world.all_reduce(at::zeros({1000000}))).wait();
  };
  if (world.rank() == 1 && !hold_large_memory()) std::_Exit(1);
  meet(directory, "large", world.rank(), {0, 1, 2});
  run();
  while (world.rank() == 1) raise(SIGKILL);
  {
    Verdicts verdicts(directory, world.rank());
    verdicts.expect<PeerLost>(name, kAtOnce, {name + "(", "rank 1 (last in " + name, "died"}, [&] {
      for (;;) run();
    });
    verdicts.end();
  }
  wait_for_ends(directory, {0, 2});
  std::_Exit(0);
}

// --- Silence and leaving: of rank 1, at all operations at once.

constexpr int kVictim = 1;

struct Started {
  AnyOperation operation;
  std::unique_ptr<Communicator> part;
};

std::vector<Started> a_part_for_each_operation(Communicator& world) {
  std::vector<Started> all;
  for (const AnyOperation& operation : every_operation()) {
    all.push_back({operation, world.split(0, 0)});
    all.back().part->barrier().wait();
  }
  return all;
}

void expect_silence(std::vector<Started>& all, Verdicts& verdicts) {
  const Call call{.peer = kVictim};
  std::vector<std::thread> waiters;
  std::vector<std::string> messages(all.size());
  for (std::size_t i = 0; i < all.size(); ++i) {
    waiters.emplace_back([&, i] {
      const Clock::time_point begin = Clock::now();
      try {
        all[i].operation.start(*all[i].part, call).wait();
        messages[i] = "no error";
      } catch (const Timeout& error) {
        messages[i] = Clock::now() - begin < kSilence ? "too early: " : "";
        messages[i] += error.what();
      } catch (const Error& error) {
        messages[i] = error.what();
      }
    });
  }
  const Clock::time_point begin = Clock::now();
  for (std::size_t i = 0; i < all.size(); ++i) {
    waiters[i].join();
    const AnyOperation& operation = all[i].operation;
    const milliseconds left =
        kSilence + kAtOnce - std::chrono::duration_cast<milliseconds>(Clock::now() - begin);
    // Whoever is later may hear that the other gave up.
    verdicts.expect<Error>(operation.title(), left,
                           {operation.name + "(", number_after_a_barrier(operation),
                            "within 3000 ms, still absent: rank 1 (last in barrier, operation 0)"},
                           [&] {
                             if (messages[i].rfind("too early", 0) == 0) {
                               throw std::runtime_error(messages[i]);
                             }
                             throw Timeout(messages[i]);
                           });
  }
}

void silence(Communicator& world, const std::filesystem::path& directory) {
  std::vector<Started> all = a_part_for_each_operation(world);
  const std::int64_t victim = processes_of(world)[kVictim];
  if (world.rank() == kVictim) {
    raise(SIGSTOP);
    return;
  }
  wait_until_stopped(victim);
  Verdicts verdicts(directory, world.rank());
  expect_silence(all, verdicts);
  verdicts.end();
  wait_for_ends(directory, {0, 2});
  kill(static_cast<pid_t>(victim), SIGCONT);
}

void leaving(Communicator& world, const std::filesystem::path& directory) {
  std::vector<Started> all = a_part_for_each_operation(world);
  world.barrier().wait();
  if (world.rank() == kVictim) return;
  Verdicts verdicts(directory, world.rank());
  const Call call{.peer = kVictim};
  for (Started& each : all) {
    verdicts.expect<PeerLost>(each.operation.title(), kAtOnce,
                              {each.operation.name + "(", number_after_a_barrier(each.operation),
                               "rank 1 (last in barrier, operation 0) left"},
                              [&] { each.operation.start(*each.part, call).wait(); });
  }
  verdicts.expect<PeerLost>("the world", kAtOnce, {"all_reduce(", "rank 1", "left"},
                            [&] { world.all_reduce(at::zeros({100})).wait(); });
  verdicts.end();
}

// --- Mismatch.

struct Misfit {
  std::string title;
  std::function<Work(Communicator&)> first;   // of rank 0, and of rank 1 unless it is a transfer
  std::function<Work(Communicator&)> second;  // of rank 2
  std::vector<std::string> said;
  bool is_transfer = false;
};

std::vector<Misfit> other_arguments() {
  std::vector<Misfit> all;
  for (const AnyOperation& operation : every_operation()) {
    const AnyOperation answer = answer_to(operation);
    const Call call{.peer = 2};
    for (Disagreement& other : disagreements(operation, call, 3)) {
      other.other.peer = 0;
      all.push_back({operation.title() + ", " + other.title,
                     [=](Communicator& c) { return operation.start(c, call); },
                     [=](Communicator& c) { return answer.start(c, other.other); },
                     {"operation 0", "rank 2", other.said_first, other.said_second},
                     operation.is_transfer()});
    }
  }
  return all;
}

// Each against the next, so that each is on either side once.
std::vector<Misfit> other_operations() {
  std::vector<Misfit> all;
  const std::vector<AnyOperation> operations = every_operation();
  for (std::size_t i = 0; i < operations.size(); ++i) {
    const AnyOperation& first = operations[i];
    const AnyOperation& second = operations[(i + 3) % operations.size()];
    if (second.is_transfer() || first.name == second.name) continue;
    all.push_back(
        {first.title() + " and " + second.title(),
         [=](Communicator& c) { return first.start(c, Call{.peer = 2}); },
         [=](Communicator& c) { return second.start(c, Call{}); },
         {"operation 0", " called " + first.name + "(", "rank 2 called " + second.name + "("},
         first.is_transfer()});
  }
  return all;
}

void mismatch(Communicator& world, const std::filesystem::path& directory) {
  std::vector<Misfit> all = other_arguments();
  for (Misfit& misfit : other_operations()) all.push_back(std::move(misfit));
  Verdicts verdicts(directory, world.rank());
  for (const Misfit& misfit : all) {
    const auto part = world.split(0, 0);
    if (world.rank() != 1 || !misfit.is_transfer) {
      verdicts.expect<Mismatch>(misfit.title, kAtOnce, misfit.said, [&] {
        (world.rank() == 2 ? misfit.second : misfit.first)(*part).wait();
      });
    }
    world.barrier().wait();  // else the next split might be late for its part
  }
  verdicts.end();
}

// --- Abort.

void abort_after_an_operation(Communicator& world, const std::filesystem::path& directory) {
  constexpr std::int64_t kMany = std::int64_t{32} << 20;
  const int rank = world.rank();
  const at::Tensor given = at::full({rank == 2 ? kMany : 0}, 5, at::kFloat);
  at::Tensor received = at::zeros({rank == 1 ? kMany : 0}, at::kFloat);
  std::vector<std::int64_t> to(3), from(3);
  if (rank == 2) to[1] = kMany;
  if (rank == 1) from[2] = kMany;
  world.barrier().wait();
  Verdicts verdicts(directory, rank);
  const Clock::time_point begin = Clock::now();
  std::string message = "ended well";
  try {
    world.all_to_all(received, from, given, to).wait();
    if (rank == 0) world.abort("enough");
  } catch (const Error& error) {
    message = error.what();
  }
  const bool right = message == "ended well" && received.eq(5).all().item<bool>();
  verdicts.write("the operation", right, begin, kWhole, message);
  verdicts.expect<PeerLost>("the next", kAtOnce, {rank == 0 ? "enough" : "gave up"},
                            [&] { world.barrier().wait(); });
  verdicts.end();
  wait_for_ends(directory, {0, 1, 2});
  std::_Exit(0);
}

// Rank 1 waits for the others, which stay away until it has been woken.
void wake_a_waiter(Communicator& world, const std::filesystem::path& directory) {
  std::vector<Started> all = a_part_for_each_operation(world);
  const int rank = world.rank();
  Verdicts verdicts(directory, rank);
  for (std::size_t i = 0; i < all.size(); ++i) {
    const AnyOperation& operation = all[i].operation;
    Communicator& part = *all[i].part;
    const auto start = [&](int peer) { return operation.start(part, Call{.peer = peer}); };
    if (rank == kVictim) {
      std::optional<Work> work;
      if (!operation.blocks()) {
        work = start(2);
        const bool ended = work->wait_for(milliseconds(20));
        verdicts.write(operation.title() + ", begun", !ended, Clock::now(), kAtOnce, "");
      }
      std::thread aborter([&] { part.abort("out of patience"); });
      verdicts.expect<PeerLost>(operation.title(), kAtOnce,
                                {"aborted by this rank: out of patience"}, [&] {
                                  if (!work) work = start(2);
                                  work->wait();
                                });
      aborter.join();
    }
    meet(directory, "woken-" + std::to_string(i), rank, {0, 1, 2});
    if (rank != kVictim) {
      // One that had all it needed of rank 1 ends well; the next cannot.
      verdicts.expect<PeerLost>(operation.title(), kAtOnce, {"rank 1 (", "out of patience"}, [&] {
        for (;;) start(kVictim).wait();
      });
    }
  }
  verdicts.end();
  wait_for_ends(directory, {0, 1, 2});
}

// --- The daemon.

[[noreturn]] void outlive_the_daemon(Communicator& world) {
  world.barrier().wait();
  if (world.rank() == world.world_size() - 1) kill(getppid(), SIGKILL);
  for (;;) pause();
}

void run(int argc, char** argv) {
  const std::string kind = argv[1];
  const RankEnv env = RankEnv::from_environment();
  const milliseconds timeout = kind == "silence" ? kSilence : kWhole;
  const std::filesystem::path directory = argv[3];
  {
    World world = World::create(env, {.transport = argv[2], .timeout = timeout});
    if (kind == "death") death(world.communicator(), directory, {argv + 4, argv + argc});
    if (kind == "large") death_of_a_large_one(world.communicator(), directory, argv[4]);
    if (kind == "silence") silence(world.communicator(), directory);
    if (kind == "leaving") leaving(world.communicator(), directory);
    if (kind == "abort") abort_after_an_operation(world.communicator(), directory);
    if (kind == "waiter") wake_a_waiter(world.communicator(), directory);
    if (kind == "daemon") outlive_the_daemon(world.communicator());
    if (kind == "mismatch") mismatch(world.communicator(), directory);
  }
  if (kind != "leaving") return;
  wait_for_ends(directory, {0, 2});
  std::_Exit(0);
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  if (argc == 2 && std::string(argv[1]) == "list") {
    for (const auto& way : muster::testing::death_cases()) std::printf("%s\n", way.title.c_str());
    return 0;
  }
  muster::testing::run(argc, argv);
}
