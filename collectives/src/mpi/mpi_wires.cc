// Tags, mailboxes, and the few calls of MPI that all messages need.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_wires.h"

#include <mpi.h>
#if defined(OPEN_MPI)
#include <mpi-ext.h>
#endif

#include <algorithm>
#include <string>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr int kTagsPerMailbox = 16;
constexpr int kNoticeTag = static_cast<int>(MpiTag::kNotice);  // one for all mailboxes

int tag_of(int mailbox, MpiTag tag) { return mailbox * kTagsPerMailbox + static_cast<int>(tag); }

int highest_tag() {
  int* highest = nullptr;
  int found = 0;
  MPI_Comm_get_attr(MPI_COMM_WORLD, MPI_TAG_UB, &highest, &found);
  return found == 0 ? 32767 : *highest;  // what the standard promises
}

}  // namespace

MpiWires::MpiWires(MPI_Comm comm)
    : comm_(comm), most_mailboxes_(highest_tag() / kTagsPerMailbox - 1) {
  MPI_Comm_set_errhandler(comm_, MPI_ERRORS_RETURN);
}

int MpiWires::add_mailbox() {
  const std::lock_guard<std::mutex> lock(calls_);
  if (mailboxes_made_ == most_mailboxes_) {
    throw InternalError("MPI: expected at most " + std::to_string(most_mailboxes_) +
                        " communicators and windows in a process's life, found one more, for "
                        "which this MPI's tags have no room; make them once and keep them");
  }
  ++mailboxes_made_;
  notices_[mailboxes_made_];
  return mailboxes_made_;
}

void MpiWires::remove_mailbox(int number) {
  const std::lock_guard<std::mutex> lock(calls_);
  notices_.erase(number);
}

// Of a dead rank MPI shows messages that it then does not give.
void MpiWires::collect_notices(int place) {
  Delivery delivery{place, {}};
  const auto receive_one = [&] {
    int there = 0;
    if (MPI_Iprobe(place, kNoticeTag, comm_, &there, MPI_STATUS_IGNORE) != MPI_SUCCESS)
      return false;
    return there != 0 && MPI_Recv(&delivery.notice, sizeof(MpiNotice), MPI_BYTE, place, kNoticeTag,
                                  comm_, MPI_STATUS_IGNORE) == MPI_SUCCESS;
  };
  while (receive_one()) {
    const auto mailbox = notices_.find(delivery.notice.mailbox);
    if (mailbox != notices_.end()) mailbox->second.push_back(delivery);
  }
}

std::vector<MpiWires::Delivery> MpiWires::take_notices(int mailbox,
                                                       const std::vector<MpiAddress>& ranks) {
  const std::lock_guard<std::mutex> lock(calls_);
  for (const MpiAddress& rank : ranks) collect_notices(rank.place);
  return std::exchange(notices_.at(mailbox), {});
}

std::vector<int> MpiWires::dead_places() {
  std::vector<int> places;
#if defined(MPIX_ERR_PROC_FAILED)
  const std::lock_guard<std::mutex> lock(calls_);
  MPI_Group all = MPI_GROUP_NULL;
  MPI_Group dead = MPI_GROUP_NULL;
  if (MPI_Comm_group(comm_, &all) != MPI_SUCCESS) return places;
  if (MPIX_Comm_get_failed(comm_, &dead) == MPI_SUCCESS) {
    int count = 0;
    MPI_Group_size(dead, &count);
    for (int i = 0; i < count; ++i) {
      int place = MPI_UNDEFINED;
      MPI_Group_translate_ranks(dead, 1, &i, all, &place);
      places.push_back(place);
    }
    MPI_Group_free(&dead);
  }
  MPI_Group_free(&all);
#endif
  return places;
}

Mailbox::Mailbox(std::shared_ptr<MpiWires> wires)
    : wires_(std::move(wires)), number_(wires_->add_mailbox()) {}

Mailbox::~Mailbox() { wires_->remove_mailbox(number_); }

int MpiLink::send(int to, MpiTag tag, const void* data, int bytes, MPI_Request* request) const {
  const MpiAddress& address = ranks[static_cast<std::size_t>(to)];
  const std::lock_guard<std::mutex> lock(wires->calls());
  return MPI_Isend(data, bytes, MPI_BYTE, address.place, tag_of(address.mailbox, tag),
                   wires->comm(), request);
}

int MpiLink::receive(int from, MpiTag tag, void* data, int bytes, MPI_Request* request) const {
  const int place = ranks[static_cast<std::size_t>(from)].place;
  const std::lock_guard<std::mutex> lock(wires->calls());
  return MPI_Irecv(data, bytes, MPI_BYTE, place, tag_of(own->number(), tag), wires->comm(),
                   request);
}

bool MpiLink::has(int from, MpiTag tag) const {
  const int place = ranks[static_cast<std::size_t>(from)].place;
  const std::lock_guard<std::mutex> lock(wires->calls());
  int there = 0;
  const int error =
      MPI_Iprobe(place, tag_of(own->number(), tag), wires->comm(), &there, MPI_STATUS_IGNORE);
  return error == MPI_SUCCESS && there != 0;
}

bool MpiLink::take(int from, MpiTag tag, void* data, int bytes) const {
  if (!has(from, tag)) return false;
  const int place = ranks[static_cast<std::size_t>(from)].place;
  const std::lock_guard<std::mutex> lock(wires->calls());
  return MPI_Recv(data, bytes, MPI_BYTE, place, tag_of(own->number(), tag), wires->comm(),
                  MPI_STATUS_IGNORE) == MPI_SUCCESS;
}

bool MpiLink::end_some(std::vector<MPI_Request>& requests) const {
  const std::lock_guard<std::mutex> lock(wires->calls());
  std::erase_if(requests, [](MPI_Request& request) {
    int done = 0;
    return MPI_Test(&request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
  });
  return requests.empty();
}

int MpiLink::send_notice(int to, MpiNotice& notice, MPI_Request* request) const {
  const MpiAddress& address = ranks[static_cast<std::size_t>(to)];
  notice.mailbox = address.mailbox;
  const std::lock_guard<std::mutex> lock(wires->calls());
  return MPI_Isend(&notice, sizeof(notice), MPI_BYTE, address.place, kNoticeTag, wires->comm(),
                   request);
}

std::vector<MpiWires::Delivery> MpiLink::take_notices() const {
  return wires->take_notices(own->number(), ranks);
}

std::vector<int> MpiLink::dead_ranks() const {
  const std::vector<int> dead = wires->dead_places();
  std::vector<int> found;
  for (int r = 0; r < world_size() && !dead.empty(); ++r) {
    const int place = ranks[static_cast<std::size_t>(r)].place;
    if (std::find(dead.begin(), dead.end(), place) != dead.end()) found.push_back(r);
  }
  return found;
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
