// Telling, listening, and turning what MPI reports into names.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_peers.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <array>
#include <mutex>
#include <thread>
#include <utility>

#include "mpi/mpi_nap.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kBetweenChecks = milliseconds(1);
// For messages and requests to end after a failure, and for a reason to arrive.
constexpr auto kToSettle = milliseconds(200);
// For those of transfers, which are let go of after that.
constexpr auto kToSettleMore = milliseconds(50);
// A peer that ended a transfer and went may have its data still on their way.
constexpr auto kForLateData = milliseconds(100);

int class_of(int error) {
  int error_class = MPI_ERR_OTHER;
  MPI_Error_class(error, &error_class);
  return error_class;
}

bool means_lost_peer([[maybe_unused]] int error_class) {
#if defined(MPIX_ERR_PROC_FAILED)
  return error_class == MPIX_ERR_PROC_FAILED || error_class == MPIX_ERR_PROC_FAILED_PENDING;
#else
  return false;
#endif
}

std::string error_text(int error) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  return text.data();
}

bool is_mismatch(const std::exception_ptr& error) {
  try {
    std::rethrow_exception(error);
  } catch (const Mismatch&) {
    return true;
  } catch (...) {
    return false;
  }
}

// True when all have ended; those that have not are left in `requests`.
bool end_all(const MpiLink& link, std::vector<MPI_Request>& requests, milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  while (!link.end_some(requests)) {
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kNap);
  }
  return true;
}

}  // namespace

void MpiPeers::begin(const OperationRun& run) {
  own_ = run.whole().signature.kind;
  ended_ = false;
  first_missed_ = run.sequence();
}

void MpiPeers::end(const OperationRun& run) {
  if (run.is_step()) return;
  ended_ = true;
  first_missed_ = run.sequence() + 1;
}

void MpiPeers::check_nobody_fell(const OperationRun& run) {
  check(run);
  std::vector<int> dead = link_.dead_ranks();
  std::erase_if(dead, [&](int r) { return has_told(r); });
  if (!dead.empty()) throw_dead(run, dead);
}

void MpiPeers::heard(int peer, OperationKind kind) {
  Peer& theirs = peers_[static_cast<std::size_t>(peer)];
  theirs.heard = true;
  theirs.last = kind;
  theirs.last_sequence = first_missed_;
}

std::string MpiPeers::last_seen(std::vector<int> ranks) const {
  std::sort(ranks.begin(), ranks.end());
  ranks.erase(std::unique(ranks.begin(), ranks.end()), ranks.end());
  std::string text;
  for (const int rank : ranks) {
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    text += (text.empty() ? "rank " : ", rank ") + std::to_string(rank);
    text += peer.heard ? std::string(" (last in ") + operation_name(peer.last) + ", operation " +
                             std::to_string(peer.last_sequence) + ")"
                       : " (before its first operation)";
  }
  return text;
}

// Whoever is in the same operation waits for somebody in turn, and may be the one to know for whom.
// So may one of several in the operation before; and its deadline passes before this rank's.
bool MpiPeers::may_wait_in_turn(const std::vector<int>& absent) const {
  const bool several =
      std::any_of(absent.begin(), absent.end(), [&](int rank) { return rank != absent.front(); });
  return std::all_of(absent.begin(), absent.end(), [&](int rank) {
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    return peer.heard && peer.last_sequence + (several ? 1 : 0) >= first_missed_;
  });
}

void MpiPeers::adopt_messages(const std::vector<MPI_Request>& left) {
  orphans_.insert(orphans_.end(), left.begin(), left.end());
}

// A rank that wanted to leave, while others went on, has left.
void MpiPeers::give_up(const std::exception_ptr& error) noexcept {
  const bool leaves = own_ == OperationKind::kLeave && !ended_;
  MpiNotice notice;
  notice.what = leaves ? What::kLeft : What::kGaveUp;
  notice.mismatch = is_mismatch(error) ? 1 : 0;
  notice.first_missed = first_missed_;
  reason_of(error).copy(notice.text, sizeof(notice.text) - 1);
  tell(notice);
  settle(kToSettle);
}

// Where nothing has failed, what has begun has ended, if only elsewhere.
void MpiPeers::leave() noexcept {
  const bool all_left = own_ == OperationKind::kLeave && ended_;
  if (!all_left) {
    MpiNotice notice;
    notice.what = What::kLeft;
    notice.first_missed = ended_ ? first_missed_ : first_missed_ + 1;
    tell(notice);
  }
  settle(kToSettle);
}

// Once: what failed first is what counts.
void MpiPeers::tell(const MpiNotice& notice) noexcept {
  if (told_) return;
  told_ = true;
  std::vector<MpiNotice> sent(peers_.size(), notice);
  std::vector<MPI_Request> requests;
  for (int r = 0; r < link_.world_size(); ++r) {
    if (r == link_.rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    const int error = link_.send_notice(r, sent[static_cast<std::size_t>(r)], &request);
    if (error == MPI_SUCCESS) requests.push_back(request);
  }
  if (!end_all(link_, requests, kToSettle)) keep_for_ever(std::move(sent));
}

bool MpiPeers::settle(milliseconds patience) noexcept {
  {
    const std::lock_guard<std::mutex> lock(link_.wires->calls());
    for (MPI_Request& request : orphans_) MPI_Cancel(&request);
  }
  return end_all(link_, orphans_, patience);
}

bool MpiPeers::memory_in_flight() noexcept { return !orphans_.empty() && !settle(kToSettleMore); }

void MpiPeers::collect() {
  for (const MpiWires::Delivery& delivery : link_.take_notices()) {
    const auto from =
        std::find_if(link_.ranks.begin(), link_.ranks.end(),
                     [&](const MpiAddress& address) { return address.place == delivery.place; });
    Peer& peer = peers_[static_cast<std::size_t>(from - link_.ranks.begin())];
    peer.notice = delivery.notice;
    peer.told = Clock::now();
  }
}

bool MpiPeers::concerns(const OperationRun& run, int rank) const {
  const Peer& peer = peers_[static_cast<std::size_t>(rank)];
  if (run.operation().flow() != Flow::kPeer) return peer.notice.first_missed <= run.sequence();
  return rank == run.operation().peer && Clock::now() > peer.told + kForLateData;
}

void MpiPeers::check(const OperationRun& run) {
  const auto now = Clock::now();
  if (now < next_check_) return;
  next_check_ = now + kBetweenChecks;
  collect();
  throw_told(run);
}

// Of several that are lost, one that gave up knows a reason.
void MpiPeers::throw_told(const OperationRun& run) {
  for (const What what : {What::kGaveUp, What::kLeft}) {
    for (int r = 0; r < static_cast<int>(peers_.size()); ++r) {
      if (peers_[static_cast<std::size_t>(r)].notice.what != what) continue;
      if (concerns(run, r)) throw_notice(run, r);
    }
  }
}

void MpiPeers::throw_notice(const OperationRun& run, int rank) {
  const MpiNotice& notice = peers_[static_cast<std::size_t>(rank)].notice;
  if (notice.mismatch != 0) throw Mismatch(notice.text);
  const std::string how = notice.what == What::kLeft
                              ? " left"
                              : std::string(" gave up after an error of its own: ") + notice.text;
  throw PeerLost(run.description() + ": " + last_seen({rank}) + how + "; " + kRestartAdvice);
}

void MpiPeers::throw_dead(const OperationRun& run, const std::vector<int>& dead) const {
  throw PeerLost(run.description() + ": " + last_seen(dead) + " died; " + kRestartAdvice);
}

void MpiPeers::throw_lost(const OperationRun& run, int rank, int error) {
  const int error_class = class_of(error);
  if (!means_lost_peer(error_class)) {
    throw InternalError(run.description() + ": MPI failed towards rank " + std::to_string(rank) +
                        ": " + error_text(error) + "; see mpirun's output");
  }
  collect();
  std::vector<int> dead = link_.dead_ranks();
  dead.push_back(rank);
  std::erase_if(dead, [&](int r) { return has_told(r); });
  if (!dead.empty()) throw_dead(run, dead);
  throw_notice(run, rank);
}

void MpiPeers::throw_timeout(const OperationRun& run, const std::vector<int>& absent) {
  if (may_wait_in_turn(absent)) {
    for (const auto deadline = Clock::now() + kToSettle; Clock::now() < deadline;) {
      collect();
      throw_told(run);
      std::this_thread::sleep_for(kNap);
    }
  }
  throw Timeout(run.description() + ": expected all ranks within " +
                std::to_string(run.timeout().count()) + " ms, still absent: " + last_seen(absent) +
                "; " + kRestartAdvice + ", or allow more time");
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
