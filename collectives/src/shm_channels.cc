// Filling, emptying, and finding out that the other side called something else.
#include "shm_channels.h"

#include <algorithm>

#include "muster/base/error.h"

namespace muster::internal {

/// One end of a transfer.
class ShmChannels::Side : public Transfer {
 public:
  Side(ShmChannels& channels, Channel& channel, const Operation& op)
      : channel_(channel),
        rank_(channels.rank_),
        bytes_(op.part_bytes()),
        end_(channel.ended.load(std::memory_order_acquire) + 1),
        rendezvous_(channels.rendezvous_),
        peer_(op.peer) {}

  // A peer that is gone, or went on, may have ended the transfer, or refused it, before.
  void check(const OperationRun& run) override {
    run.check_wanted();
    if (rendezvous_.will_not_answer(peer_)) {
      if (advance(run) == Turn::kEnded) return;
      rendezvous_.throw_no_answer(peer_, run);
    }
    if (run.overdue()) rendezvous_.throw_timeout(run, peer_);
  }

 protected:
  Channel& channel_;
  const int rank_;
  const std::int64_t bytes_;
  const std::uint64_t end_;  // of this transfer: the channel's count of ended ones then

 private:
  Rendezvous& rendezvous_;
  const int peer_;
};

class ShmChannels::Send : public Side {
 public:
  Send(ShmChannels& channels, Channel& channel, const Operation& op)
      : Side(channels, channel, op), data_(op.parts[0].data) {
    channel_.signature = op.signature;
    channel_.announced.store(end_, std::memory_order_release);
  }

  Turn advance(const OperationRun& run) override {
    const std::int64_t before = sent_;
    while (sent_ < bytes_) {
      const std::uint64_t filled = channel_.filled.load(std::memory_order_relaxed);
      if (filled - channel_.emptied.load(std::memory_order_acquire) == 2) break;
      const std::int64_t n = std::min(kSlotBytes, bytes_ - sent_);
      copy_bytes(channel_.slots[filled % 2], data_ + sent_, n);
      channel_.filled.store(filled + 1, std::memory_order_release);
      sent_ += n;
    }
    if (channel_.ended.load(std::memory_order_acquire) == end_) return Turn::kEnded;
    if (channel_.refused.load(std::memory_order_acquire) != 0) {
      check_same_transfer(run, rank_, channel_.refusal);
    }
    return sent_ > before ? Turn::kMoved : Turn::kIdle;
  }

 private:
  const std::byte* data_;
  std::int64_t sent_ = 0;
};

class ShmChannels::Receive : public Side {
 public:
  Receive(ShmChannels& channels, Channel& channel, const Operation& op)
      : Side(channels, channel, op), data_(op.output) {}

  Turn advance(const OperationRun& run) override {
    if (channel_.announced.load(std::memory_order_acquire) != end_) return Turn::kIdle;
    if (received_ == 0) check_fits(run);
    const std::int64_t before = received_;
    while (received_ < bytes_) {
      const std::uint64_t emptied = channel_.emptied.load(std::memory_order_relaxed);
      if (channel_.filled.load(std::memory_order_acquire) == emptied) {
        return received_ > before ? Turn::kMoved : Turn::kIdle;
      }
      const std::int64_t n = std::min(kSlotBytes, bytes_ - received_);
      copy_bytes(data_ + received_, channel_.slots[emptied % 2], n);
      channel_.emptied.store(emptied + 1, std::memory_order_release);
      received_ += n;
    }
    channel_.ended.store(end_, std::memory_order_release);
    return Turn::kEnded;
  }

 private:
  void check_fits(const OperationRun& run) {
    try {
      check_same_transfer(run, rank_, channel_.signature);
    } catch (const Mismatch&) {
      channel_.refusal = run.operation().signature;
      channel_.refused.store(1, std::memory_order_release);
      throw;
    }
  }

  std::byte* data_;
  std::int64_t received_ = 0;
};

ShmChannels::ShmChannels(SymmetricMemory& memory, Rendezvous& rendezvous, int rank)
    : rendezvous_(rendezvous),
      rank_(rank),
      channels_(memory.allocate_copies(static_cast<std::int64_t>(sizeof(Channel)) *
                                       memory.group().world_size())) {}

std::unique_ptr<Transfer> ShmChannels::start(const OperationRun& run) {
  const Operation& op = run.operation();
  rendezvous_.record(run);
  if (op.signature.kind == OperationKind::kSend) {
    return std::make_unique<Send>(*this, channel(rank_, op.peer), op);
  }
  return std::make_unique<Receive>(*this, channel(op.peer, rank_), op);
}

}  // namespace muster::internal
