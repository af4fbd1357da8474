// Coming, and agreeing on who came.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_regroup.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <chrono>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "mpi/mpi_nap.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

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

}  // namespace

MpiRegroup::Remnant MpiRegroup::agree(const OperationRun& run, Regrouping how) {
  check_can_shrink(run, how);
  meet(run);
  auto own = std::make_shared<const Mailbox>(link_.wires);
  const std::vector<int> known = flood(run, own->number());
  return join_known(std::move(own), known);
}

void MpiRegroup::check_can_shrink(const OperationRun& run, Regrouping how) const {
  if (how == Regrouping::kReplace) {
    throw ConfigError(run.description() +
                      ": expected ranks that share memory, so that others can take their places, "
                      "found MPI, which new processes cannot join; shrink() instead");
  }
  const std::lock_guard<std::mutex> lock(link_.wires->calls());
  if (has_ulfm()) return;
  throw ConfigError(run.description() +
                    ": expected an MPI that can go on without dead ranks (ULFM), found one that "
                    "cannot, or that was not asked to; start the program with Open MPI 5 and "
                    "mpirun --with-ft ulfm");
}

void MpiRegroup::meet(const OperationRun& run) {
  const std::vector<Presence> before = presences_;
  say(MpiTag::kCame);
  for (;;) {
    const std::vector<int> missing = missing_ranks();
    if (missing.empty()) return;
    if (run.overdue()) throw_timeout(run, missing, before);
    std::this_thread::sleep_for(kNap);
  }
}

std::vector<int> MpiRegroup::missing_ranks() {
  const std::vector<int> dead = link_.dead_ranks();
  std::vector<int> missing;
  for (int r = 0; r < static_cast<int>(presences_.size()); ++r) {
    if (r == link_.rank || std::find(dead.begin(), dead.end(), r) != dead.end()) continue;
    listen(r);
    const Presence& theirs = presences_[static_cast<std::size_t>(r)];
    if (theirs.came <= theirs.went) missing.push_back(r);
  }
  return missing;
}

// Who came and has gone again meanwhile waited for somebody in vain too, and is not to blame.
void MpiRegroup::throw_timeout(const OperationRun& run, const std::vector<int>& missing,
                               const std::vector<Presence>& before) {
  say(MpiTag::kWent);
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
void MpiRegroup::say(MpiTag tag) {
  for (int r = 0; r < link_.world_size(); ++r) {
    if (r == link_.rank) continue;
    MPI_Request request = MPI_REQUEST_NULL;
    link_.send(r, tag, nullptr, 0, &request);
    const std::lock_guard<std::mutex> lock(link_.wires->calls());
    if (request != MPI_REQUEST_NULL) MPI_Request_free(&request);
  }
}

void MpiRegroup::listen(int rank) {
  Presence& theirs = presences_[static_cast<std::size_t>(rank)];
  if (link_.take(rank, MpiTag::kCame, nullptr, 0)) ++theirs.came;
  if (link_.take(rank, MpiTag::kWent, nullptr, 0)) ++theirs.went;
}

std::vector<int> MpiRegroup::flood(const OperationRun& run, int own_mailbox) {
  if (gave_up_)
    throw PeerLost(run.description() + ": the ranks could not agree before; " + kRestartAdvice);
  gave_up_ = true;  // words of an agreement that was not ended would be taken for the next one's
  Flood flood(link_.world_size(), link_.rank, own_mailbox);
  for (; !flood.ended(); flood.end_round()) exchange(run, flood);
  gave_up_ = false;
  return flood.gifts();
}

void MpiRegroup::exchange(const OperationRun& run, Flood& flood) {
  std::vector<int> missing = flood.others();
  std::vector<int> heard(flood.told().size());
  const int bytes = static_cast<int>(heard.size() * sizeof(int));
  std::vector<MPI_Request> sends;
  for (const int r : missing) {
    MPI_Request request = MPI_REQUEST_NULL;
    link_.send(r, MpiTag::kFlood, flood.told().data(), bytes, &request);
    if (request != MPI_REQUEST_NULL) sends.push_back(request);
  }
  while (!missing.empty() || !link_.end_some(sends)) {
    const std::vector<int> dead = link_.dead_ranks();
    std::erase_if(missing, [&](int r) {
      const bool told = link_.take(r, MpiTag::kFlood, heard.data(), bytes);
      if (told) flood.hear(heard);
      const bool is_dead = std::find(dead.begin(), dead.end(), r) != dead.end();
      if (is_dead && !told) flood.lose(r);
      return told || is_dead;
    });
    if (run.overdue()) {
      peers_.adopt_messages(sends);
      throw Timeout(run.description() + ": expected every rank that came to agree within " +
                    std::to_string(run.timeout().count()) +
                    " ms, still absent: " + peers_.last_seen(missing) + "; " + kRestartAdvice);
    }
    std::this_thread::sleep_for(kNap);
  }
}

// Whoever dies from now on is found dead by the next generation.
MpiRegroup::Remnant MpiRegroup::join_known(std::shared_ptr<const Mailbox> own,
                                           const std::vector<int>& known) const {
  Remnant remnant{{link_.wires, std::move(own), {}, 0}, {}};
  for (int r = 0; r < link_.world_size(); ++r) {
    const int mailbox = known[static_cast<std::size_t>(r)];
    if (mailbox == 0) continue;
    if (r == link_.rank) remnant.link.rank = remnant.link.world_size();
    remnant.link.ranks.push_back({link_.ranks[static_cast<std::size_t>(r)].place, mailbox});
    remnant.ranks.push_back(r);
  }
  return remnant;
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
