// Reading other ranks' memory by MPI messages that a thread of theirs answers.
#ifndef MUSTER_COLLECTIVES_SRC_MPI_MPI_READER_H_
#define MUSTER_COLLECTIVES_SRC_MPI_MPI_READER_H_

#include <mpi.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <list>
#include <memory>
#include <thread>
#include <vector>

#include "mpi/mpi_peers.h"
#include "transport.h"

namespace muster::internal {

/// Messages instead of MPI's own windows: those need a target that calls MPI too, in Open MPI know
/// neither a deadline nor ULFM, and are not for several threads.
class MpiReader : public RemoteReader {
 public:
  /// What `link` names belongs to this alone. Others read from `own`; reads may take as long as
  /// `timeout`.
  MpiReader(MpiLink link, std::shared_ptr<const std::byte> own, std::chrono::milliseconds timeout);
  ~MpiReader() override;

  std::shared_ptr<WorkState> start(const Operation& read, std::int64_t offset_bytes,
                                   std::shared_ptr<void> memory) override;

 private:
  class Read;

  /// As it travels.
  struct Request {
    std::int64_t offset_bytes;
    std::int64_t bytes;
  };

  /// Of a read that ended early: MPI may still send the requests, and write to the memory.
  struct Left {
    std::vector<Request> requests;
    std::shared_ptr<void> memory;
  };

  struct Reply {
    int to;
    MPI_Request request;
  };

  void serve();
  bool answer(int from);
  bool end_replies();

  const MpiLink link_;
  std::shared_ptr<const std::byte> own_;
  const std::chrono::milliseconds timeout_;
  MpiPeers peers_;  // of the reading thread
  const Interruption never_;
  const std::atomic<int> waiters_{1};
  std::uint64_t reads_ = 0;
  std::vector<std::weak_ptr<Read>> live_;
  std::list<Left> left_;
  std::vector<Reply> replies_;  // of the serving thread
  std::atomic<bool> closing_{false};
  std::thread server_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_MPI_MPI_READER_H_
