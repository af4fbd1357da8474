// Counting arrivals, spinning, sleeping, and finding out who is lost.
#include "rendezvous.h"

#include <sched.h>

#include <algorithm>
#include <cstring>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

// Between looks at the peers' health: how late a death is noticed.
constexpr std::int64_t kSleepUs = 5000;
// About a millisecond, many times the price of a sleep and a wake-up. With less, one sleep makes
// the next: the rank that is woken arrives so late that the other has gone to sleep meanwhile.
// Never sched_yield in a loop: under the kernel's current scheduler each call gives up a slice of
// future time, and ranks that did so were seen to starve for seconds.
constexpr int kSpins = 30000;
// About 20 microseconds, where the caller computes meanwhile and may need this core.
constexpr int kSpinsBesideComputation = 600;
// With more ranks than cores; about 100 microseconds.
constexpr int kSpinsWhenCrowded = 3000;
// A missing rank that needs this very core gets it by one or two yields, where nothing else wants
// it; a sleep and a wake-up take several times as long.
constexpr int kYieldsWhenCrowded = 4;

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

}  // namespace

Rendezvous::Rendezvous(SymmetricMemory& memory, int rank)
    : memory_(memory),
      node_memory_(*memory.group().memory),
      slots_(memory.group().slots),
      names_(memory.group().names),
      rank_(rank),
      world_size_(memory.group().world_size()),
      gate_(reinterpret_cast<Gate*>(memory.allocate_shared(sizeof(Gate)))),
      posts_(reinterpret_cast<Post*>(
          memory.allocate_shared(static_cast<std::int64_t>(sizeof(Post)) * world_size_))) {}

Announcement& Rendezvous::announcement_of(int rank) {
  return posts_[rank].announcements[announced_ % 2];
}

Announcement& Rendezvous::new_announcement() {
  ++announced_;
  return announcement_of(rank_);
}

void Rendezvous::begin(const OperationRun& run) {
  record(run);
  posts_[rank_].begun.store(announced_, std::memory_order_release);
  meet(run);
  for (int r = 0; r < world_size_; ++r) {
    check_same_operation(run, run.operation().signature, name_of(rank_),
                         announcement_of(r).signature, name_of(r));
  }
}

// For the messages of other ranks and of the launcher. Communicators of one process share the slot:
// words of two names may mix, and nothing else.
void Rendezvous::record(const OperationRun& run) {
  RankSlot& own = slot(rank_);
  constexpr std::size_t kWords = sizeof(own.operation) / sizeof(std::uint64_t);
  std::uint64_t name[kWords] = {};
  std::strncpy(reinterpret_cast<char*>(name), operation_name(run.whole().signature.kind),
               sizeof(name) - 1);
  auto* const words = reinterpret_cast<std::uint64_t*>(own.operation);
  for (std::size_t i = 0; i < kWords; ++i) {
    std::atomic_ref<std::uint64_t>(words[i]).store(name[i], std::memory_order_relaxed);
  }
  own.sequence.store(run.sequence(), std::memory_order_relaxed);
}

void Rendezvous::meet(const OperationRun& run) {
  arrive();
  const bool met = spin(run);
  while (!met && !all_have_arrived()) {
    check_nobody_lost(run);
    run.check_wanted();
    if (run.overdue()) check_somebody_absent(run);
    sleep();
  }
  if (!crowded_) crowded_ = is_crowded();  // not earlier, since now all have joined
}

// Sequentially consistent on both sides: either the last rank to arrive sees the sleeper, or the
// sleeper sees that all have arrived.
void Rendezvous::arrive() {
  if (crowded_.value_or(false)) posts_[rank_].cpu.store(sched_getcpu(), std::memory_order_relaxed);
  posts_[rank_].arrivals.store(++arrivals_, std::memory_order_seq_cst);
  if (gate_->sleepers.load(std::memory_order_seq_cst) != 0 && all_have_arrived()) open_gate();
}

void Rendezvous::open_gate() {
  gate_->openings.fetch_add(1, std::memory_order_seq_cst);
  futex_wake_all(gate_->openings);
}

void Rendezvous::sleep() {
  gate_->sleepers.fetch_add(1, std::memory_order_seq_cst);
  const std::uint32_t seen = gate_->openings.load(std::memory_order_seq_cst);
  if (!all_have_arrived()) futex_wait(gate_->openings, seen, kSleepUs);
  gate_->sleepers.fetch_sub(1, std::memory_order_seq_cst);
}

bool Rendezvous::has_arrived(int rank) const {
  const std::uint32_t theirs = posts_[rank].arrivals.load(std::memory_order_seq_cst);
  return static_cast<std::int32_t>(theirs - arrivals_) >= 0;  // the count may wrap around
}

bool Rendezvous::all_have_arrived() const {
  for (int r = 0; r < world_size_; ++r) {
    if (!has_arrived(r)) return false;
  }
  return true;
}

bool Rendezvous::is_missing_here() const {
  const int here = posts_[rank_].cpu.load(std::memory_order_relaxed);
  for (int r = 0; r < world_size_; ++r) {
    if (!has_arrived(r) && posts_[r].cpu.load(std::memory_order_relaxed) == here) return true;
  }
  return false;
}

// With more ranks than cores a missing rank may need this very core, and then nothing is gained by
// keeping it. True when all that are missing may have cores of their own.
bool Rendezvous::give_way(const OperationRun& run) {
  if (!is_missing_here()) return true;
  if (!run.awaited() || !yields_.pays()) return false;
  for (int i = 0; i < kYieldsWhenCrowded; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    sched_yield();
    const auto time = std::chrono::steady_clock::now() - begin;
    yields_.took(time);
    if (!is_missing_here()) return true;
    if (time >= YieldHabit::kLong) return false;
  }
  return false;
}

// True when all have arrived meanwhile. A missing rank that runs elsewhere is spun for, which
// spares both ranks the wake-up.
bool Rendezvous::spin(const OperationRun& run) {
  const bool crowded = crowded_.value_or(true);
  if (crowded && !give_way(run)) return false;
  const int spins = crowded ? kSpinsWhenCrowded : kSpins;
  int r = 0;
  for (int i = 0; i < spins; ++i) {
    if (i >= kSpinsBesideComputation && !run.awaited()) return false;
    while (has_arrived(r)) {
      if (++r == world_size_) return true;
    }
    pause_cpu();
  }
  return false;
}

// A launcher may bind each rank to a core of its own, so it is the cores of all ranks that count.
bool Rendezvous::is_crowded() {
  const NodeControl& control = node_memory_.control();
  std::uint32_t living = 0;
  cpu_set_t all;
  CPU_ZERO(&all);
  for (std::uint32_t r = 0; r < control.slots_taken.load(); ++r) {
    const RankSlot& process = control.slots[r];
    if (process.state.load() != static_cast<std::uint32_t>(RankState::kAlive)) continue;
    ++living;
    cpu_set_t theirs;
    CPU_ZERO(&theirs);
    if (sched_getaffinity(process.pid.load(), sizeof(theirs), &theirs) == 0) {
      CPU_OR(&all, &all, &theirs);
    }
  }
  return living > static_cast<std::uint32_t>(CPU_COUNT(&all));
}

// A rank that has arrived here is not needed any more in this meeting, so it may leave or die
// unharmed. The order of the two looks matters: it may arrive and leave between them.
void Rendezvous::check_nobody_lost(const OperationRun& run) {
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_ || has_arrived(r)) continue;
    const bool lost = gave_up(r) || node_memory_.generation_moved() || has_left(r);
    if (!lost || has_arrived(r)) continue;
    check_same_calls(run);
    throw_lost(run, r);
  }
}

// One that left had ended all its operations, so that nobody needs it.
void Rendezvous::check_nobody_fell(const OperationRun& run) {
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_) continue;
    const Loss loss = loss_of(r, true);
    if (loss != Loss::kNone && loss != Loss::kLeft) throw_lost(run, r);
  }
}

// Against the calls that absent ranks could not go on with.
void Rendezvous::check_same_calls(const OperationRun& run) {
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_ || has_arrived(r) || !gave_up(r) || posts_[r].refused_call[0] == '\0') continue;
    throw_different_calls(run, {name_of(rank_), run.call()}, {name_of(r), posts_[r].refused_call});
  }
}

// It waits for this rank there, so that its announcement stays.
bool Rendezvous::is_in_later_collective(int peer) const {
  return posts_[peer].begun.load(std::memory_order_acquire) > announced_;
}

bool Rendezvous::will_not_answer(int peer) {
  return is_in_later_collective(peer) || gave_up(peer) || node_memory_.generation_moved() ||
         has_left(peer);
}

void Rendezvous::throw_no_answer(int peer, const OperationRun& run) {
  if (has_left(peer) || gave_up(peer) || !is_in_later_collective(peer)) throw_lost(run, peer);
  const Signature& theirs = posts_[peer].announcements[(announced_ + 1) % 2].signature;
  if (theirs.kind == OperationKind::kLeave) {
    check_same_operation(run, run.operation().signature, name_of(rank_), theirs, name_of(peer));
  }
  run.call().copy(posts_[rank_].refused_call, sizeof(Post::refused_call) - 1);
  throw_different_calls(run, {name_of(rank_), run.call()}, {name_of(peer), theirs.description()});
}

void Rendezvous::give_up(const std::string& reason) noexcept {
  reason.copy(posts_[rank_].reason, sizeof(Post::reason) - 1);
  posts_[rank_].gave_up.store(gate_->ranks_that_gave_up.fetch_add(1) + 1);
  open_gate();
}

void Rendezvous::leave() noexcept {
  posts_[rank_].left.store(1);
  open_gate();
}

bool Rendezvous::has_left(int rank) {
  return posts_[rank].left.load() != 0 ||
         node_memory_.peer_is_gone(slots_[static_cast<std::size_t>(rank)]);
}

std::string Rendezvous::last_seen(int rank) {
  const RankSlot& theirs = slot(rank);
  if (theirs.state.load() == static_cast<std::uint32_t>(RankState::kAbsent)) {
    return "rank " + std::to_string(name_of(rank)) + " (never seen)";
  }
  const std::string name(theirs.operation, strnlen(theirs.operation, sizeof(theirs.operation)));
  const std::string doing =
      name.empty() ? "before its first operation"
                   : "last in " + name + ", operation " + std::to_string(theirs.sequence.load());
  return "rank " + std::to_string(name_of(rank)) + " (process " +
         std::to_string(theirs.pid.load()) + ", " + doing + ")";
}

Rendezvous::Loss Rendezvous::loss_of(int rank, bool needed) {
  const bool left = has_left(rank);
  const std::uint32_t state = slot(rank).state.load();
  if (state == static_cast<std::uint32_t>(RankState::kDied)) return Loss::kDied;
  if (gave_up(rank)) return Loss::kGaveUp;
  if (left) return Loss::kLeft;
  return needed && node_memory_.generation_moved() ? Loss::kGivenUpByLauncher : Loss::kNone;
}

bool Rendezvous::gave_up_before(int rank, int other) const {
  return posts_[rank].gave_up.load() < posts_[other].gave_up.load();
}

// One loss makes others: a survivor gives up and leaves, the launcher ends the generation. The
// message names the one that looks most like the first. Where that one only gave up, the reason may
// be somebody whom this rank misses as well.
void Rendezvous::throw_lost(const OperationRun& run, int noticed) {
  static constexpr const char* kHow[] = {"was lost", "was given up by the launcher",
                                         "gave up after an error of its own", "left", "died"};
  if (memory_.is_excluded(rank_)) {
    throw PeerLost(run.description() + ": the other ranks went on without rank " +
                   std::to_string(name_of(rank_)) +
                   " (this one), which was silent; end this process, or allow more time");
  }
  int first = noticed;
  Loss worst = Loss::kNone;
  for (int r = 0; r < world_size_; ++r) {
    const bool needed = r == noticed || !has_arrived(r);
    const Loss loss = r == rank_ ? Loss::kNone : loss_of(r, needed);
    const bool earlier = loss == worst && loss == Loss::kGaveUp && gave_up_before(r, first);
    if (loss < worst || (loss == worst && !earlier)) continue;
    worst = loss;
    first = r;
  }
  std::string text = last_seen(first) + " " + kHow[static_cast<int>(worst)];
  if (worst == Loss::kGaveUp) text += std::string(": ") + posts_[first].reason;
  const std::string absent = worst == Loss::kGaveUp ? absent_ranks(first) : "";
  if (!absent.empty()) text += "; still absent: " + absent;
  throw PeerLost(run.description() + ": " + text + "; " + kRestartAdvice);
}

std::string Rendezvous::absent_ranks(int except) {
  std::string absent;
  for (int r = 0; r < world_size_; ++r) {
    if (r == rank_ || r == except || has_arrived(r)) continue;
    absent += (absent.empty() ? "" : ", ") + last_seen(r);
  }
  return absent;
}

// The last may have arrived just now.
void Rendezvous::check_somebody_absent(const OperationRun& run) {
  const std::string absent = absent_ranks(-1);
  if (absent.empty()) return;
  throw Timeout(run.description() + ": expected all ranks within " +
                std::to_string(run.timeout().count()) + " ms, still absent: " + absent + "; " +
                kRestartAdvice + ", or allow more time");
}

void Rendezvous::throw_timeout(const OperationRun& run, int absent_peer) {
  throw Timeout(run.description() + ": expected it to end within " +
                std::to_string(run.timeout().count()) + " ms, still waiting for " +
                last_seen(absent_peer) + "; " + kRestartAdvice + ", or allow more time");
}

}  // namespace muster::internal
