// Messages of all our communicators over one of MPI's.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_WIRES_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_WIRES_H_

#include <mpi.h>

#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <vector>

namespace muster::internal {

/// What messages are for. Those of one purpose between two ranks of a communicator match in the
/// order of posting.
enum class MpiTag : int {
  kNotice = 0,
  kCollective = 1,
  kPeerData = 2,
  kPeerReply = 3,
  kRead = 4,
  kReadReply = 5,
  kCame = 6,
  kWent = 7,
  kFlood = 8
};

/// Where a rank of one of our communicators gets its messages.
struct MpiAddress {
  int place = 0;  ///< In MPI's communicator.
  int mailbox = 0;
};

/// What a rank says last, as it travels. Short enough to be sent at once, whether it is received or
/// not.
struct MpiNotice {
  enum class What : std::uint32_t { kNothing = 0, kGaveUp = 1, kLeft = 2 };

  What what = What::kNothing;
  std::uint32_t mismatch = 0;
  std::uint64_t first_missed = 0;  ///< Of the sender's collectives.
  std::int32_t mailbox = 0;        ///< Of the receiver's.
  char text[1000] = {};
};

/// MPI makes a communicator without a deadline, waiting for all of its ranks; has some 65,000 of
/// them in a process's life; and can free one only when no message is under way there. So it makes
/// one for the job, and ours are addresses: each rank of each has a *mailbox*, a number that stands
/// in the tags of all that is sent to it there. A rank gives out its numbers itself, so that nobody
/// has to agree on one, and none twice.
class MpiWires {
 public:
  /// `comm` stays the caller's.
  explicit MpiWires(MPI_Comm comm);
  MpiWires(const MpiWires&) = delete;
  MpiWires& operator=(const MpiWires&) = delete;

  MPI_Comm comm() const { return comm_; }
  /// Under which this process calls MPI: several of our communicators may be in flight, and MPI is
  /// started for one caller at a time.
  std::mutex& calls() { return calls_; }

  struct Delivery {
    int place = 0;  ///< Of the sender.
    MpiNotice notice;
  };

  /// The notices for `mailbox` that have come from `ranks` since the last call.
  std::vector<Delivery> take_notices(int mailbox, const std::vector<MpiAddress>& ranks);

  /// Places of those who died, as far as MPI knows; nothing without ULFM.
  std::vector<int> dead_places();

 private:
  friend class Mailbox;

  int add_mailbox();
  void remove_mailbox(int number);
  void collect_notices(int place);

  const MPI_Comm comm_;
  int most_mailboxes_ = 0;
  std::mutex calls_;
  // What follows is read and written under it.
  int mailboxes_made_ = 0;
  // Those of ranks that leave one by one come when nobody looks for them any more. Whoever waits
  // for such a rank elsewhere takes them away, since MPI keeps and searches what is not received.
  std::map<int, std::vector<Delivery>> notices_;
};

/// A number, from when it is given out until no message for it is wanted any more.
class Mailbox {
 public:
  /// Throws InternalError when MPI's tags have no room for more. The first one of `wires` is 1.
  explicit Mailbox(std::shared_ptr<MpiWires> wires);
  ~Mailbox();
  Mailbox(const Mailbox&) = delete;
  Mailbox& operator=(const Mailbox&) = delete;

  int number() const { return number_; }

 private:
  const std::shared_ptr<MpiWires> wires_;
  const int number_;
};

/// A rank's end of one of our communicators. Every call takes the lock.
struct MpiLink {
  std::shared_ptr<MpiWires> wires;
  std::shared_ptr<const Mailbox> own;
  std::vector<MpiAddress> ranks;
  int rank = 0;

  int world_size() const { return static_cast<int>(ranks.size()); }

  /// As MPI_Isend and MPI_Irecv; return MPI's error.
  int send(int to, MpiTag tag, const void* data, int bytes, MPI_Request* request) const;
  int receive(int from, MpiTag tag, void* data, int bytes, MPI_Request* request) const;
  /// Whether a message of `from` is there.
  bool has(int from, MpiTag tag) const;
  /// Receives a short message if it is there.
  bool take(int from, MpiTag tag, void* data, int bytes) const;
  /// Takes those away that have ended, well or not. True when none is left.
  bool end_some(std::vector<MPI_Request>& requests) const;

  /// `notice` goes to this rank alone.
  int send_notice(int to, MpiNotice& notice, MPI_Request* request) const;
  std::vector<MpiWires::Delivery> take_notices() const;
  /// As far as MPI knows; nothing without ULFM.
  std::vector<int> dead_ranks() const;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_WIRES_H_
