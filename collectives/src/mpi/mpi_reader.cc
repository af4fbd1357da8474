// Asking and answering.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_reader.h"

#include <algorithm>
#include <exception>
#include <mutex>
#include <optional>
#include <string>
#include <utility>

#include "deadline.h"
#include "mpi/mpi_nap.h"
#include "mpi/mpi_transfers.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

// So that the answer to one rank does not keep others waiting for long.
constexpr std::int64_t kMostBytes = std::int64_t{8} << 20;
constexpr int kIdleRoundsBeforeNap = 50;

}  // namespace

/// One read, in pieces. Where it outlives the reader it has been closed.
class MpiReader::Read : public WorkState {
 public:
  Read(MpiReader& reader, const Operation& operation, std::int64_t offset_bytes,
       std::shared_ptr<void> memory)
      : reader_(reader),
        operation_(operation),
        run_(operation_, reader.reads_++, kName, reader.timeout_, reader.never_, reader.waiters_),
        memory_(std::move(memory)) {
    transfers_.emplace(reader.link_, reader.peers_, run_);
    const std::int64_t bytes = operation.part_bytes();
    for (std::int64_t begin = 0; begin < bytes; begin += kMostBytes) {
      requests_.push_back({offset_bytes + begin, std::min(kMostBytes, bytes - begin)});
    }
    try {
      ask();
    } catch (...) {  // which wait() is to throw
      failure_ = std::current_exception();
      let_go();
    }
  }

  ~Read() override { let_go(); }

  /// Looks for itself: nobody else does while nobody waits.
  bool done() const override {
    look();
    return is_over();
  }

  bool ended() const { return ended_; }

  /// The reader ends: what has not been read by now never is.
  void close() {
    if (ended_) return;
    if (!failure_) {
      failure_ = std::make_exception_ptr(
          UserError("read from rank " + std::to_string(operation_.peer) +
                    ": expected its window to be there until it is done, found the window "
                    "destroyed; wait for reads first"));
    }
    let_go();
  }

  void wait() override {
    end_by([this] {
      transfers_->finish();
      return true;
    });
    if (failure_) std::rethrow_exception(failure_);
  }

  bool wait_for(std::chrono::milliseconds timeout) override {
    const auto deadline = deadline_after(timeout);
    while (!done()) {
      if (std::chrono::steady_clock::now() > deadline) return false;
      std::this_thread::sleep_for(kNap);
    }
    wait();
    return true;
  }

 private:
  static inline const std::string kName = "a window";

  void ask() {
    std::byte* to = operation_.output;
    for (const Request& request : requests_) {
      transfers_->receive(operation_.peer, to, request.bytes, MpiTag::kReadReply);
      transfers_->send(operation_.peer, reinterpret_cast<const std::byte*>(&request),
                       sizeof(Request), MpiTag::kRead);
      to += request.bytes;
    }
  }

  bool is_over() const { return ended_ || failure_ != nullptr; }

  void look() const {
    end_by([this] {
      if (transfers_->test_all()) return true;
      transfers_->check();
      return false;
    });
  }

  template <typename Step>
  void end_by(const Step& step) const {
    if (is_over()) return;
    try {
      ended_ = step();
    } catch (...) {
      failure_ = std::current_exception();
    }
    if (ended_) transfers_.reset();
  }

  /// What is under way is the reader's to end.
  void let_go() {
    if (!transfers_) return;
    reader_.left_.push_back({std::move(requests_), std::move(memory_)});
    transfers_.reset();
  }

  MpiReader& reader_;
  const Operation operation_;
  const OperationRun run_;
  std::shared_ptr<void> memory_;
  std::vector<Request> requests_;
  // Whoever looks may find that it is over.
  mutable std::optional<MpiTransfers> transfers_;  // as long as the reader is needed, and there
  mutable bool ended_ = false;
  mutable std::exception_ptr failure_;
};

MpiReader::MpiReader(MpiLink link, std::shared_ptr<const std::byte> own,
                     std::chrono::milliseconds timeout)
    : link_(std::move(link)), own_(std::move(own)), timeout_(timeout), peers_(link_) {
  server_ = std::thread([this] { serve(); });
}

MpiReader::~MpiReader() {
  for (const std::weak_ptr<Read>& read : live_) {
    if (const std::shared_ptr<Read> open = read.lock()) open->close();
  }
  closing_ = true;
  server_.join();
  std::vector<MPI_Request> left;
  for (const Reply& reply : replies_) left.push_back(reply.request);
  peers_.adopt_messages(left);
  peers_.leave();
  if (!peers_.memory_in_flight()) return;
  keep_for_ever(std::move(left_));
  keep_for_ever(std::move(own_));
}

std::shared_ptr<WorkState> MpiReader::start(const Operation& read, std::int64_t offset_bytes,
                                            std::shared_ptr<void> memory) {
  std::erase_if(live_, [](const std::weak_ptr<Read>& earlier) {
    const std::shared_ptr<Read> open = earlier.lock();
    return open == nullptr || open->ended();
  });
  auto begun = std::make_shared<Read>(*this, read, offset_bytes, std::move(memory));
  live_.push_back(begun);
  return begun;
}

void MpiReader::serve() {
  for (int idle = 0; !closing_;) {
    bool busy = end_replies();
    for (int r = 0; r < link_.world_size(); ++r) busy = answer(r) || busy;
    idle = busy ? 0 : idle + 1;
    if (idle > kIdleRoundsBeforeNap) std::this_thread::sleep_for(kNap);
  }
}

// Errors are the asking rank's to report: a dead one is not answered.
bool MpiReader::answer(int from) {
  if (from == link_.rank) return false;
  Request request{};
  if (!link_.take(from, MpiTag::kRead, &request, sizeof(request))) return false;
  Reply reply{from, MPI_REQUEST_NULL};
  if (link_.send(from, MpiTag::kReadReply, own_.get() + request.offset_bytes,
                 static_cast<int>(request.bytes), &reply.request) == MPI_SUCCESS) {
    replies_.push_back(reply);
  }
  return true;
}

// Whether some are still under way.
bool MpiReader::end_replies() {
  if (replies_.empty()) return false;
  const std::lock_guard<std::mutex> lock(link_.wires->calls());
  std::erase_if(replies_, [](Reply& reply) {
    int done = 0;
    return MPI_Test(&reply.request, &done, MPI_STATUS_IGNORE) != MPI_SUCCESS || done != 0;
  });
  return !replies_.empty();
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
