// Telling, listening, and turning what MPI reports into names.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_peers.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <array>
#include <cstring>
#include <thread>
#include <utility>

#include "mpi/mpi_nap.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

using Clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

constexpr auto kBetweenChecks = milliseconds(1);
constexpr int kNoticeTag = 0;
// For messages and requests to end after a failure, and for a reason to arrive.
constexpr auto kToSettle = milliseconds(200);
// Before that, where the others need not be disturbed if it is enough.
constexpr auto kToSettleAlone = milliseconds(50);
// A peer that ended a transfer and went may have its data still on their way.
constexpr auto kForLateData = milliseconds(100);

int class_of(int error) {
  int error_class = MPI_ERR_OTHER;
  MPI_Error_class(error, &error_class);
  return error_class;
}

bool means_lost_peer([[maybe_unused]] int error_class) {
#if defined(MPIX_ERR_PROC_FAILED)
  return error_class == MPIX_ERR_PROC_FAILED || error_class == MPIX_ERR_PROC_FAILED_PENDING ||
         error_class == MPIX_ERR_REVOKED;
#else
  return false;
#endif
}

bool means_revoked([[maybe_unused]] int error_class) {
#if defined(MPIX_ERR_REVOKED)
  return error_class == MPIX_ERR_REVOKED;
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

// True when all have ended, well or not; those that have not are left in `requests`.
bool end_all(const MpiLink& link, std::vector<MPI_Request>& requests, milliseconds patience) {
  const auto deadline = Clock::now() + patience;
  for (;;) {
    {
      const std::lock_guard<std::mutex> lock(*link.calls);
      std::erase_if(requests, [](MPI_Request& request) {
        int done = 0;
        return MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
      });
    }
    if (requests.empty()) return true;
    if (Clock::now() > deadline) return false;
    std::this_thread::sleep_for(kNap);
  }
}

}  // namespace

void MpiLink::free() {
  const std::lock_guard<std::mutex> lock(*calls);
  MPI_Comm_free(&notices);
  MPI_Comm_free(&comm);
}

MpiPeers::MpiPeers(const MpiLink& link) : link_(link) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  MPI_Comm_set_errhandler(link_.comm, MPI_ERRORS_RETURN);
  int world_size = 1;
  MPI_Comm_rank(link_.comm, &rank_);
  MPI_Comm_size(link_.comm, &world_size);
  peers_.resize(static_cast<std::size_t>(world_size));
}

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
  std::vector<int> dead = dead_ranks();
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

bool MpiPeers::have_begun_too(const std::vector<int>& ranks) const {
  return std::all_of(ranks.begin(), ranks.end(), [&](int rank) {
    const Peer& peer = peers_[static_cast<std::size_t>(rank)];
    return peer.heard && peer.last_sequence == first_missed_;
  });
}

void MpiPeers::remove_messages(const std::vector<MPI_Request>& left) {
  --open_sets_;
  orphans_.insert(orphans_.end(), left.begin(), left.end());
}

// A rank that wanted to leave, while others went on, has left.
void MpiPeers::give_up(const std::exception_ptr& error) noexcept {
  const bool leaves = own_ == OperationKind::kLeave && !ended_;
  Notice notice;
  notice.what = leaves ? What::kLeft : What::kGaveUp;
  notice.mismatch = is_mismatch(error) ? 1 : 0;
  notice.first_missed = first_missed_;
  reason_of(error).copy(notice.text, sizeof(notice.text) - 1);
  tell(notice);
  if (leaves) {
    settle(kToSettle);
  } else if (makes_communicator() || open_sets_ > 0 || !settle(kToSettleAlone)) {
    revoke();
    settle(kToSettle);
  }
}

// MPI waits there without looking for anybody's word.
bool MpiPeers::makes_communicator() const {
  return !ended_ && (own_ == OperationKind::kSplit || own_ == OperationKind::kOpenWindow);
}

// Ends all that is under way on the communicator, on all ranks: also an operation that has ended
// here, and would soon elsewhere.
void MpiPeers::revoke() noexcept {
#if defined(MPIX_ERR_REVOKED)
  const std::lock_guard<std::mutex> lock(*link_.calls);
  MPIX_Comm_revoke(link_.comm);
#endif
}

// Where nothing has failed, what has begun has ended, if only elsewhere.
void MpiPeers::leave() noexcept {
  const bool all_left = own_ == OperationKind::kLeave && ended_;
  if (!all_left) {
    Notice notice;
    notice.what = What::kLeft;
    notice.first_missed = ended_ ? first_missed_ : first_missed_ + 1;
    tell(notice);
  }
  if (!settle(kToSettle) || !all_left || freed_) return;
  link_.free();
  freed_ = true;
}

// Once: what failed first is what counts.
void MpiPeers::tell(const Notice& notice) noexcept {
  if (told_) return;
  told_ = true;
  auto sent = std::make_unique<Notice>(notice);
  std::vector<MPI_Request> requests;
  {
    const std::lock_guard<std::mutex> lock(*link_.calls);
    for (int r = 0; r < static_cast<int>(peers_.size()); ++r) {
      MPI_Request request = MPI_REQUEST_NULL;
      if (r == rank_) continue;
      const int error =
          MPI_Isend(sent.get(), sizeof(Notice), MPI_BYTE, r, kNoticeTag, link_.notices, &request);
      if (error == MPI_SUCCESS) requests.push_back(request);
    }
  }
  if (!end_all(link_, requests, kToSettle)) keep_for_ever(std::move(sent));
}

bool MpiPeers::settle(milliseconds patience) noexcept {
  {
    const std::lock_guard<std::mutex> lock(*link_.calls);
    for (MPI_Request& request : orphans_) MPI_Cancel(&request);
  }
  return end_all(link_, orphans_, patience);
}

bool MpiPeers::memory_in_flight() noexcept { return !orphans_.empty() && !settle(kToSettleAlone); }

void MpiPeers::collect() {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (int r = 0; r < static_cast<int>(peers_.size()); ++r) {
    Peer& peer = peers_[static_cast<std::size_t>(r)];
    if (r == rank_ || peer.notice.what != What::kNothing) continue;
    int there = 0;
    if (MPI_Iprobe(r, kNoticeTag, link_.notices, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS ||
        there == 0)
      continue;
    Notice notice;
    const int error = MPI_Recv(&notice, sizeof(Notice), MPI_BYTE, r, kNoticeTag, link_.notices,
                               MPI_STATUS_IGNORE);
    if (error != MPI_SUCCESS) continue;
    peer.notice = notice;
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
  throw_told(run, false);
}

// Of several that are lost, one that gave up knows a reason.
void MpiPeers::throw_told(const OperationRun& run, bool whatever) {
  for (const What what : {What::kGaveUp, What::kLeft}) {
    for (int r = 0; r < static_cast<int>(peers_.size()); ++r) {
      if (peers_[static_cast<std::size_t>(r)].notice.what != what) continue;
      if (whatever || concerns(run, r)) throw_notice(run, r);
    }
  }
}

void MpiPeers::throw_notice(const OperationRun& run, int rank) {
  const Notice& notice = peers_[static_cast<std::size_t>(rank)].notice;
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
  const bool is_dead = !means_revoked(error_class) && rank >= 0;
  for (const auto deadline = Clock::now() + kToSettle; Clock::now() < deadline;) {
    collect();
    std::vector<int> dead = dead_ranks();
    if (is_dead) dead.push_back(rank);
    std::erase_if(dead, [&](int r) { return has_told(r); });
    if (!dead.empty()) throw_dead(run, dead);
    throw_told(run, true);
    std::this_thread::sleep_for(kNap);
  }
  throw PeerLost(run.description() + ": another rank gave up after an error of its own; " +
                 kRestartAdvice);
}

// Whoever is in the same operation waits for somebody in turn, and may be the one to know for whom.
void MpiPeers::throw_timeout(const OperationRun& run, const std::vector<int>& absent) {
  if (have_begun_too(absent)) {
    for (const auto deadline = Clock::now() + kToSettle; Clock::now() < deadline;) {
      collect();
      throw_told(run, false);
      std::this_thread::sleep_for(kNap);
    }
  }
  throw Timeout(run.description() + ": expected all ranks within " +
                std::to_string(run.timeout().count()) + " ms, still absent: " + last_seen(absent) +
                "; " + kRestartAdvice + ", or allow more time");
}

std::vector<int> MpiPeers::dead_ranks() {
  std::vector<int> ranks;
#if defined(MPIX_ERR_PROC_FAILED)
  const std::lock_guard<std::mutex> lock(*link_.calls);
  MPI_Group all = MPI_GROUP_NULL;
  MPI_Group dead = MPI_GROUP_NULL;
  if (MPI_Comm_group(link_.comm, &all) != MPI_SUCCESS) return ranks;
  if (MPIX_Comm_get_failed(link_.comm, &dead) == MPI_SUCCESS) {
    int count = 0;
    MPI_Group_size(dead, &count);
    for (int i = 0; i < count; ++i) {
      int rank = MPI_UNDEFINED;
      MPI_Group_translate_ranks(dead, 1, &i, all, &rank);
      ranks.push_back(rank);
    }
    MPI_Group_free(&dead);
  }
  MPI_Group_free(&all);
#endif
  return ranks;
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
