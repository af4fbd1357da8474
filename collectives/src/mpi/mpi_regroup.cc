// Coming, and MPI's shrinking.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_regroup.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <numeric>
#include <string>
#include <thread>

#include "mpi/mpi_nap.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr int kCameTag = 1;  // beside the notices of MpiPeers
constexpr int kWentTag = 2;

// A library may have ULFM, and a run not: mpirun decides.
bool has_ulfm() {
#if defined(MPIX_FT)
  int* enabled = nullptr;
  int found = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPIX_FT, &enabled, &found);
  return found != 0 && *enabled != 0;
#else
  return false;
#endif
}

bool shrink_once([[maybe_unused]] MPI_Comm from, [[maybe_unused]] MPI_Comm* to) {
#if defined(MPIX_ERR_REVOKED)
  if (MPIX_Comm_shrink(from, to) != MPI_SUCCESS) return false;
  return MPI_Comm_set_errhandler(*to, MPI_ERRORS_RETURN) == MPI_SUCCESS;
#else
  return false;
#endif
}

// The same answer on all ranks of `comm`; no when one of them has died.
bool agree_on([[maybe_unused]] MPI_Comm comm, [[maybe_unused]] bool yes) {
#if defined(MPIX_ERR_REVOKED)
  int all = yes ? 1 : 0;
  return MPIX_Comm_agree(comm, &all) == MPI_SUCCESS && all != 0;
#else
  return false;
#endif
}

int size_of(MPI_Comm comm) {
  int size = 0;
  MPI_Comm_size(comm, &size);
  return size;
}

}  // namespace

MpiRegroup::MpiRegroup(const MpiLink& link, MpiPeers& peers) : link_(link), peers_(peers) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  presences_.resize(static_cast<std::size_t>(size_of(link_.comm)));
}

MpiRegroup::Remnant MpiRegroup::agree(const OperationRun& run, Regrouping how) {
  check_can_shrink(run, how);
  meet(run);
  return shrink(run);
}

void MpiRegroup::check_can_shrink(const OperationRun& run, Regrouping how) const {
  if (how == Regrouping::kReplace) {
    throw ConfigError(run.description() +
                      ": expected ranks that share memory, so that others can take their places, "
                      "found MPI, which new processes cannot join; shrink() instead");
  }
  const std::lock_guard<std::mutex> lock(*link_.calls);
  if (has_ulfm()) return;
  throw ConfigError(run.description() +
                    ": expected an MPI that can go on without dead ranks (ULFM), found one that "
                    "cannot, or that was not asked to; start the program with Open MPI 5 and "
                    "mpirun --with-ft ulfm");
}

void MpiRegroup::meet(const OperationRun& run) {
  const std::vector<Presence> before = presences_;
  say(kCameTag);
  for (;;) {
    const std::vector<int> missing = missing_ranks();
    if (missing.empty()) return;
    if (run.overdue()) throw_timeout(run, missing, before);
    std::this_thread::sleep_for(kNap);
  }
}

std::vector<int> MpiRegroup::missing_ranks() {
  const std::vector<int> dead = peers_.dead_ranks();
  std::vector<int> missing;
  for (int r = 0; r < static_cast<int>(presences_.size()); ++r) {
    if (r == peers_.rank() || std::find(dead.begin(), dead.end(), r) != dead.end()) continue;
    listen(r);
    const Presence& theirs = presences_[static_cast<std::size_t>(r)];
    if (theirs.came <= theirs.went) missing.push_back(r);
  }
  return missing;
}

// Who came and has gone again meanwhile waited for somebody in vain too, and is not to blame.
void MpiRegroup::throw_timeout(const OperationRun& run, const std::vector<int>& missing,
                               const std::vector<Presence>& before) {
  say(kWentTag);
  std::vector<int> absent = missing;
  std::erase_if(absent, [&](int r) {
    const auto rank = static_cast<std::size_t>(r);
    return presences_[rank].came > before[rank].came;
  });
  throw Timeout(run.description() + ": expected every rank that lives to come within " +
                std::to_string(run.timeout().count()) +
                " ms, still absent: " + peers_.last_seen(absent.empty() ? missing : absent) +
                "; MPI cannot go on without ranks that live: end those, or allow more time, and "
                "call shrink() again");
}

// Empty messages, which need no memory to stay.
void MpiRegroup::say(int tag) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (int r = 0; r < static_cast<int>(presences_.size()); ++r) {
    if (r == peers_.rank()) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    MPI_Isend(nullptr, 0, MPI_BYTE, r, tag, link_.notices, &request);
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }
}

void MpiRegroup::listen(int rank) {
  Presence& theirs = presences_[static_cast<std::size_t>(rank)];
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (const int tag : {kCameTag, kWentTag}) {
    int there = 0;
    MPI_Iprobe(rank, tag, link_.notices, &there, MPI_STATUS_IGNORE);
    if (there == 0) continue;
    MPI_Recv(nullptr, 0, MPI_BYTE, rank, tag, link_.notices, MPI_STATUS_IGNORE);
    ++(tag == kCameTag ? theirs.came : theirs.went);
  }
}

// Both communicators are made by shrinking, which deaths cannot harm. Whoever dies between the two,
// or before all know that they have the same, is out in another round.
MpiRegroup::Remnant MpiRegroup::shrink(const OperationRun& run) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  MpiLink link{link_.comm, MPI_COMM_NULL, link_.calls};
  for (bool all_have = false; !all_have;) {
    const MPI_Comm old = link.comm;
    if (!shrink_once(old, &link.comm) || !shrink_once(link.comm, &link.notices)) {
      throw PeerLost(run.description() +
                     ": MPI could not make a communicator of the ranks that "
                     "are left; " +
                     kRestartAdvice);
    }
    all_have = agree_on(link.comm, size_of(link.comm) == size_of(link.notices));
  }
  return {link, ranks_in(link.comm)};
}

std::vector<int> MpiRegroup::ranks_in(MPI_Comm part) const {
  MPI_Group whole = MPI_GROUP_NULL;
  MPI_Group some = MPI_GROUP_NULL;
  MPI_Comm_group(link_.comm, &whole);
  MPI_Comm_group(part, &some);
  std::vector<int> places(static_cast<std::size_t>(size_of(part)));
  std::iota(places.begin(), places.end(), 0);
  std::vector<int> ranks(places.size());
  MPI_Group_translate_ranks(some, static_cast<int>(places.size()), places.data(), whole,
                            ranks.data());
  MPI_Group_free(&some);
  MPI_Group_free(&whole);
  return ranks;
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
