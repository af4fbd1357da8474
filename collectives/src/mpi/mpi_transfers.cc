// Posting and testing.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_transfers.h"

#include <mpi.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>

#include "mpi/mpi_nap.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

// MPI counts in int.
constexpr std::int64_t kMaxMessageBytes = std::int64_t{1} << 30;
constexpr int kRoundsBeforeNap = 2000;

}  // namespace

MpiTransfers::~MpiTransfers() {
  std::vector<MPI_Request> left;
  for (const Pending& transfer : pending_) left.push_back(transfer.request);
  peers_.adopt_messages(left);
}

void MpiTransfers::send(int to, const std::byte* data, std::int64_t bytes, MpiTag tag) {
  for (std::int64_t begin = 0; begin < bytes; begin += kMaxMessageBytes) {
    const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    const int error = link_.send(to, tag, data + begin, count, &request);
    if (error != MPI_SUCCESS) peers_.throw_lost(run_, to, error);
    pending_.push_back({to, request});
  }
}

void MpiTransfers::receive(int from, std::byte* data, std::int64_t bytes, MpiTag tag) {
  for (std::int64_t begin = 0; begin < bytes; begin += kMaxMessageBytes) {
    const int count = static_cast<int>(std::min(kMaxMessageBytes, bytes - begin));
    MPI_Request request = MPI_REQUEST_NULL;
    const int error = link_.receive(from, tag, data + begin, count, &request);
    if (error != MPI_SUCCESS) peers_.throw_lost(run_, from, error);
    pending_.push_back({from, request});
  }
}

bool MpiTransfers::test_all() {
  int error = MPI_SUCCESS;
  int peer = -1;
  {
    const std::lock_guard<std::mutex> lock(link_.wires->calls());
    for (Pending& transfer : pending_) {
      int done = 0;
      error = MPI_Test(&transfer.request, &done, MPI_STATUS_IGNORE);
      peer = transfer.peer;
      if (error != MPI_SUCCESS) break;
    }
  }
  std::erase_if(pending_,
                [](const Pending& transfer) { return transfer.request == MPI_REQUEST_NULL; });
  if (error != MPI_SUCCESS) peers_.throw_lost(run_, peer, error);
  return pending_.empty();
}

void MpiTransfers::finish() {
  for (int round = 0; !test_all(); ++round) {
    if (round < kRoundsBeforeNap) continue;
    check();
    std::this_thread::sleep_for(kNap);
  }
}

// What the others needed from this rank they have by then, and the other way round: a word of
// theirs, or the clock, does not undo what was complete before.
void MpiTransfers::check() {
  run_.check_wanted();
  try {
    peers_.check(run_);
  } catch (const Error&) {
    if (test_all()) return;
    throw;
  }
  if (!run_.overdue() || test_all()) return;
  std::vector<int> absent;
  for (const Pending& transfer : pending_) absent.push_back(transfer.peer);
  peers_.throw_timeout(run_, absent);
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
