// Windows and parts over MPI, and what becomes of those whose ranks fail or leave: which errors the
// others get. A program of mpi_faults_test.cc: part_faults KIND TRANSPORT DIRECTORY, by mpirun.
//
//   reads      from windows of 6 of 8 ranks, which end in as many ways: the first and the last read
//   stops      of rank 1 of 3, at some moments of a stream of splits
//   parts      none fails: more of them than MPI has communicators, which their ranks leave alone
#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>
#include <signal.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "end_to_end/programs/processes.h"
#include "end_to_end/programs/verdicts.h"
#include "muster/base/error.h"
#include "muster/collectives/world.h"

namespace muster::testing {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr int kVictim = 1;
constexpr auto kSilence = milliseconds(3000);
constexpr auto kShortSilence = milliseconds(1500);  // where ranks are silent one after the other
constexpr auto kForManyParts = milliseconds(60000);
constexpr auto kAtOnce = milliseconds(1000);
constexpr auto kMiddle = milliseconds(20);  // of a stream of reads

// --- Reads. The victim of case k is rank k + 1.

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

void split_until_lost_and_stop(Communicator& part, std::chrono::microseconds delay) {
  std::thread stopper = stop_after(delay);
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

void run(const std::string& kind, const std::string& transport,
         const std::filesystem::path& directory) {
  const RankEnv env = RankEnv::from_environment();
  milliseconds timeout = kForManyParts;
  if (kind == "reads") timeout = kSilence;
  if (kind == "stops") timeout = kShortSilence;
  World world = World::create(env, {.transport = transport, .timeout = timeout});
  if (kind == "reads") reads(world.communicator(), directory);
  if (kind == "stops") stops(world.communicator(), directory);
  if (kind == "parts") make_many_parts(world.communicator(), directory);
}

}  // namespace
}  // namespace muster::testing

int main(int, char** argv) { muster::testing::run(argv[1], argv[2], argv[3]); }
