// faults KIND TRANSPORT DIRECTORY [CASE...]: ranks fail at every operation, each on a communicator
// of its own that split() made, and each survivor writes what it was told, and how soon, to
// DIRECTORY (verdicts.h). KIND is one of
//   death      of one rank a case, of 2 + cases ranks in all: the first and the last survive
//   silence    of rank 1 of 3, until the others have given up
//   leaving    of rank 1 of 3, from each communicator and then from the world
//   mismatch   of rank 2 of 3
//   reads      from windows of 6 of 8 ranks, which end in as many ways: the first and the last read
//   large      CASE, barrier or all_reduce: rank 1 of 3, which holds much memory, dies in it
//   stops      of rank 1 of 3, at some moments of a stream of splits
//   parts      none fails: more of them than MPI has communicators, which their ranks leave alone
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
#include <fstream>
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
#include "end_to_end/programs/verdicts.h"
#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace muster::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kSilence = milliseconds(3000);
constexpr auto kShortSilence = milliseconds(1500);  // where ranks are silent one after the other
constexpr auto kForManyParts = milliseconds(60000);
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

std::vector<std::int64_t> processes_of(Communicator& world) {
  at::Tensor own = at::full({1}, static_cast<std::int64_t>(getpid()), at::kLong);
  at::Tensor all = at::empty({world.world_size()}, at::kLong);
  world.all_gather(all, own).wait();
  const auto* begin = all.const_data_ptr<std::int64_t>();
  return {begin, begin + all.numel()};
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

// --- Reads. The victim of case k is rank k + 1, as with deaths.

enum class Ending { kKilled, kExited, kStopped, kClosed };

struct ReadCase {
  const char* title;
  Ending ending;
  std::int64_t numel = 100;
  milliseconds delay{0};
};

constexpr ReadCase kReadCases[] = {
    {"read, killed", Ending::kKilled},
    {"read, killed in the middle", Ending::kKilled, 1000000, kMiddle},
    {"read, exited", Ending::kExited},
    {"read, stopped", Ending::kStopped},
    {"read, stopped in the middle", Ending::kStopped, 1000000, kMiddle},
    {"read, closed in the middle", Ending::kClosed, 1000000, kMiddle}};

[[noreturn]] void end_a_window(const ReadCase& way, std::unique_ptr<Window> window,
                               const std::filesystem::path& directory, int last) {
  const auto end = Clock::now() + way.delay;
  while (Clock::now() < end) std::this_thread::yield();
  if (way.ending == Ending::kExited) std::_Exit(0);
  while (way.ending == Ending::kKilled) raise(SIGKILL);
  while (way.ending == Ending::kStopped) raise(SIGSTOP);
  window.reset();
  wait_for_ends(directory, {0, last});
  std::_Exit(0);
}

// Whatever became of the other rank, wait() is to tell.
Work begin_to_read(Window& window, int from, const at::Tensor& to) {
  try {
    return window.read(from, 0, to);
  } catch (const Error& error) {
    throw std::logic_error(std::string("read() threw: ") + error.what());
  }
}

bool read_is_right(Window& window, int from) {
  at::Tensor to = at::zeros({window.own().numel()}, at::kInt);
  begin_to_read(window, from, to).wait();
  return to.eq(from + 1).all().item<bool>();
}

// What is mapped stays readable, whatever became of the rank.
void read_until_lost(const ReadCase& way, const std::string& title, bool mapped, Window& window,
                     Verdicts& verdicts) {
  const auto read_on = [&] {
    while (read_is_right(window, kVictim)) continue;
    throw std::runtime_error("wrong data");
  };
  const std::string call = "read(Int, " + std::to_string(way.numel) + " elements) from rank 1";
  const milliseconds latest = kAtOnce + way.delay;
  if (mapped) {
    const Clock::time_point begin = Clock::now();
    verdicts.write(title, read_is_right(window, kVictim), begin, latest, "mapped");
  } else if (way.ending == Ending::kStopped) {
    verdicts.expect<Timeout>(title, kSilence + latest,
                             {call, "of a window", "within 3000 ms, still absent: rank 1 ("},
                             read_on);
  } else {
    const char* const how = way.ending == Ending::kClosed ? "left" : "died";
    verdicts.expect<PeerLost>(title, latest, {call, "of a window", "rank 1 (", how}, read_on);
  }
}

// Again when it is known, and from the window of one who lives.
void read_what_is_left(const ReadCase& way, Communicator& part, Window& window,
                       Verdicts& verdicts) {
  const std::vector<int> sharing = part.ranks_sharing_memory();
  const bool mapped = std::find(sharing.begin(), sharing.end(), kVictim) != sharing.end();
  const std::string title = way.title;
  read_until_lost(way, title, mapped, window, verdicts);
  if (way.ending != Ending::kStopped) {
    read_until_lost(way, title + ", again", mapped, window, verdicts);
  }
  const Clock::time_point begin = Clock::now();
  const bool right = read_is_right(window, 2 - part.rank());
  verdicts.write(title + ", the other", right, begin, kAtOnce, "");
}

void reads(Communicator& world, const std::filesystem::path& directory) {
  const int last = world.world_size() - 1;
  const bool survives = world.rank() == 0 || world.rank() == last;
  std::vector<std::unique_ptr<Communicator>> parts;
  std::vector<std::unique_ptr<Window>> windows;
  for (int v = 1; v < last; ++v) {
    parts.push_back(world.split(survives || world.rank() == v ? 0 : -1, 0));
    windows.emplace_back();
    if (parts.back() == nullptr) continue;
    windows.back() = parts.back()->open_window(kReadCases[v - 1].numel, at::kInt);
    at::Tensor own = windows.back()->own();
    own.fill_(parts.back()->rank() + 1);
  }
  const std::vector<std::int64_t> processes = processes_of(world);
  const auto meet_for = [&](std::size_t k) {
    meet(directory, "case-" + std::to_string(k), world.rank(), {0, static_cast<int>(k) + 1, last});
  };
  if (!survives) {
    const auto k = static_cast<std::size_t>(world.rank() - 1);
    meet_for(k);
    end_a_window(kReadCases[k], std::move(windows[k]), directory, last);
  }
  Verdicts verdicts(directory, world.rank());
  for (std::size_t k = 0; k < parts.size(); ++k) {
    meet_for(k);
    read_what_is_left(kReadCases[k], *parts[k], *windows[k], verdicts);
  }
  verdicts.end();
  wait_for_ends(directory, {0, last});
  for (std::size_t k = 0; k < parts.size(); ++k) {
    if (kReadCases[k].ending == Ending::kStopped) {
      kill(static_cast<pid_t>(processes[k + 1]), SIGKILL);
    }
  }
  std::_Exit(0);
}

// --- Stops.

void split_for_ever(Communicator& part) {
  for (;;) part.split(0, 0);
}

// Another thread stops the process, wherever in a split it is.
void split_until_lost_and_stop(Communicator& part, std::chrono::microseconds delay) {
  std::thread stopper([delay] {
    const auto end = Clock::now() + delay;
    while (Clock::now() < end) std::this_thread::yield();
    kill(getpid(), SIGSTOP);
  });
  try {
    split_for_ever(part);
  } catch (const Error&) {
  }
  stopper.join();
}

void stops(Communicator& world, const std::filesystem::path& directory) {
  constexpr int kStops = 8;
  const int rank = world.rank();
  const auto victim = static_cast<pid_t>(processes_of(world)[kVictim]);
  Verdicts verdicts(directory, rank);
  for (int i = 0; i < kStops; ++i) {
    const std::string title = "stop " + std::to_string(i);
    const auto part = world.split(0, 0);
    part->barrier().wait();
    if (rank == kVictim) {
      split_until_lost_and_stop(*part, std::chrono::microseconds(1000 + 613 * i));
    } else {
      verdicts.expect<Error>(title, kShortSilence + kAtOnce,
                             {"split(), operation ", "within 1500 ms, still absent: rank 1 ("},
                             [&] { split_for_ever(*part); });
      meet(directory, "told-" + std::to_string(i), rank, {0, 2});
      if (rank == 0) kill(victim, SIGCONT);
    }
    meet(directory, "awake-" + std::to_string(i), rank, {0, 1, 2});
  }
  verdicts.end();
}

// --- Parts.

std::int64_t resident_mib() {
  std::ifstream file("/proc/self/statm");
  std::int64_t pages = 0;
  file >> pages >> pages;
  return pages * sysconf(_SC_PAGESIZE) >> 20;
}

// Rank 1 is always late and waits for nobody. What the other says when it leaves does not pile up
// there all the same: it would be 33 MiB.
void make_many_parts(Communicator& world, const std::filesystem::path& directory) {
  constexpr int kMany = 33000;  // Open MPI has 65,532 communicators, and two a part were needed
  constexpr auto kLate = std::chrono::microseconds(200);
  constexpr std::int64_t kMostMib = 16;
  Verdicts verdicts(directory, world.rank());
  const Clock::time_point begin = Clock::now();
  std::int64_t mib = 0;
  std::string message;
  try {
    for (int i = 0; i < kMany; ++i) {
      if (i == kMany / 10) mib = resident_mib();
      const auto end = Clock::now() + kLate;
      while (world.rank() == 1 && Clock::now() < end) continue;
      world.split(0, 0);
    }
    world.split(0, 0)->barrier().wait();
  } catch (const Error& error) {
    message = error.what();
  }
  verdicts.write("many parts", message.empty(), begin, kForManyParts, message);
  mib = resident_mib() - mib;
  verdicts.write("memory", mib < kMostMib, Clock::now(), kAtOnce, std::to_string(mib) + " MiB");
  verdicts.end();
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
  milliseconds timeout = kWhole;
  if (kind == "silence" || kind == "reads") timeout = kSilence;
  if (kind == "stops") timeout = kShortSilence;
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
    if (kind == "reads") reads(world.communicator(), directory);
    if (kind == "stops") stops(world.communicator(), directory);
    if (kind == "parts") make_many_parts(world.communicator(), directory);
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
