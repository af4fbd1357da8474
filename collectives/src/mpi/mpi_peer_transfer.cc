// The handshake and the data.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_peer_transfer.h"

namespace muster::internal {

MpiPeerTransfer::MpiPeerTransfer(const MpiLink& link, const OperationRun& run, int rank)
    : sends_(run.operation().signature.kind == OperationKind::kSend),
      rank_(rank),
      greetings_(new Greetings{run.operation().signature, {}}),
      handshake_(link, run),
      data_(link, run) {
  const Operation& op = run.operation();
  const auto* ours = reinterpret_cast<const std::byte*>(&greetings_->ours);
  auto* theirs = reinterpret_cast<std::byte*>(&greetings_->theirs);
  if (sends_) {
    handshake_.send(op.peer, ours, sizeof(Signature), MpiTag::kPeerData);
    handshake_.receive(op.peer, theirs, sizeof(Signature), MpiTag::kPeerReply);
    data_.send(op.peer, op.parts[0].data, op.part_bytes(), MpiTag::kPeerData);
  } else {
    handshake_.receive(op.peer, theirs, sizeof(Signature), MpiTag::kPeerData);
    handshake_.send(op.peer, ours, sizeof(Signature), MpiTag::kPeerReply);
  }
}

MpiPeerTransfer::~MpiPeerTransfer() {
  if (met_) delete greetings_;
}

Turn MpiPeerTransfer::advance(const OperationRun& run) {
  if (ended_) return Turn::kEnded;
  Turn turn = Turn::kIdle;
  if (!met_ && handshake_.test_all()) {
    met_ = true;
    turn = Turn::kMoved;
    check_same_transfer(run, rank_, greetings_->theirs);
    const Operation& op = run.operation();
    if (!sends_) data_.receive(op.peer, op.output, op.part_bytes(), MpiTag::kPeerData);
  }
  ended_ = met_ && data_.test_all();
  return ended_ ? Turn::kEnded : turn;
}

void MpiPeerTransfer::check(const OperationRun& run) {
  run.check_wanted();
  handshake_.check_in_time();
  data_.check_in_time();
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
