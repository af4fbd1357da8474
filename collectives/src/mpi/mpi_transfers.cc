// Posting, testing, and turning MPI's error classes into ours.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_transfers.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <array>
#include <string>
#include <thread>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

// MPI counts in int.
constexpr std::int64_t kMaxMessageBytes = std::int64_t{1} << 30;
constexpr int kRoundsBeforeNap = 2000;
constexpr auto kNap = std::chrono::microseconds(50);

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

// The ranks of `comm` that this process knows to be dead: "rank 1, rank 3", or nothing.
std::string dead_ranks([[maybe_unused]] MPI_Comm comm) {
  std::string names;
#if defined(MPIX_ERR_PROC_FAILED)
  MPI_Group all = MPI_GROUP_NULL;
  MPI_Group dead = MPI_GROUP_NULL;
  if (MPI_Comm_group(comm, &all) != MPI_SUCCESS) return names;
  if (MPIX_Comm_get_failed(comm, &dead) == MPI_SUCCESS) {
    int count = 0;
    MPI_Group_size(dead, &count);
    for (int i = 0; i < count; ++i) {
      int rank = MPI_UNDEFINED;
      MPI_Group_translate_ranks(dead, 1, &i, all, &rank);
      names += (names.empty() ? "rank " : ", rank ") + std::to_string(rank);
    }
    MPI_Group_free(&dead);
  }
  MPI_Group_free(&all);
#endif
  return names;
}

std::string error_text(int error) {
  std::array<char, MPI_MAX_ERROR_STRING> text{};
  int length = 0;
  MPI_Error_string(error, text.data(), &length);
  return text.data();
}

}  // namespace

void MpiTransfers::send(int to, const std::byte* data, std::int64_t bytes, MpiTag tag) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (std::int64_t begin = 0; begin < bytes; begin += kMaxMessageBytes) {
    const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    check(MPI_Isend(data + begin, count, MPI_BYTE, to, static_cast<int>(tag), link_.comm, &request),
          to);
    pending_.push_back({to, request});
  }
}

void MpiTransfers::receive(int from, std::byte* data, std::int64_t bytes, MpiTag tag) {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (std::int64_t begin = 0; begin < bytes; begin += kMaxMessageBytes) {
    const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    check(
        MPI_Irecv(data + begin, count, MPI_BYTE, from, static_cast<int>(tag), link_.comm, &request),
        from);
    pending_.push_back({from, request});
  }
}

bool MpiTransfers::test_all() {
  const std::lock_guard<std::mutex> lock(*link_.calls);
  for (Pending& transfer : pending_) {
    int done = 0;
    check(MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE), transfer.peer);
  }
  std::erase_if(pending_,
                [](const Pending& transfer) { return transfer.request == MPI_REQUEST_NULL; });
  return pending_.empty();
}

void MpiTransfers::finish() {
  for (int round = 0; !test_all(); ++round) {
    if (round < kRoundsBeforeNap) continue;
    run_.check_wanted();
    check_in_time();
    std::this_thread::sleep_for(kNap);
  }
}

void MpiTransfers::check(int error, int peer) {
  if (error == MPI_SUCCESS) return;
  int error_class = MPI_ERR_OTHER;
  MPI_Error_class(error, &error_class);
  if (!means_lost_peer(error_class)) {
    throw InternalError(run_.description() + ": MPI failed towards rank " + std::to_string(peer) +
                        ": " + error_text(error) + "; see mpirun's output");
  }
  std::string dead = dead_ranks(link_.comm);
  if (dead.empty() && !means_revoked(error_class)) dead = "rank " + std::to_string(peer);
  throw PeerLost(
      run_.description() + ": " +
      (dead.empty() ? "another rank gave up after an error of its own" : dead + " died") + "; " +
      kRestartAdvice);
}

void MpiTransfers::check_in_time() {
  if (!run_.overdue()) return;
  std::vector<int> absent;
  for (const Pending& transfer : pending_) absent.push_back(transfer.peer);
  std::sort(absent.begin(), absent.end());
  absent.erase(std::unique(absent.begin(), absent.end()), absent.end());
  std::string names;
  for (int peer : absent) names += (names.empty() ? "rank " : ", rank ") + std::to_string(peer);
  throw Timeout(run_.description() + ": expected all ranks within " +
                std::to_string(run_.timeout().count()) + " ms, still absent: " + names + "; " +
                kRestartAdvice + ", or allow more time");
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
