// The handshake and the data.
#ifdef MUSTER_HAS_MPI
#include "mpi/mpi_peer_transfer.h"

namespace muster::internal {

MpiPeerTransfer::MpiPeerTransfer(const MpiLink& link, MpiPeers& peers, const OperationRun& run)
    : link_(link),
      sends_(run.operation().signature.kind == OperationKind::kSend),
      greetings_(new Greetings{run.operation().signature, {}}),
      handshake_(link, peers, run),
      data_(link, peers, run) {
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
    check_same_transfer(run, link_.rank, greetings_->theirs);
    const Operation& op = run.operation();
    if (!sends_) data_.receive(op.peer, op.output, op.part_bytes(), MpiTag::kPeerData);
  }
  ended_ = met_ && data_.test_all();
  return ended_ ? Turn::kEnded : turn;
}

// A peer that has begun a collective has ended its transfers, so that one that it has not begun
// will not come. It may have ended this one just before.
void MpiPeerTransfer::check(const OperationRun& run) {
  if (!met_ && link_.has(run.operation().peer, MpiTag::kCollective)) {
    if (advance(run) != Turn::kEnded && !met_) throw_went_on(run);
  }
  (met_ ? data_ : handshake_).check();
}

// The communicator has failed by this, so that nobody else misses the message.
void MpiPeerTransfer::throw_went_on(const OperationRun& run) {
  const int peer = run.operation().peer;
  Greeting theirs;
  link_.take(peer, MpiTag::kCollective, &theirs, sizeof(theirs));
  const Signature& ours = run.operation().signature;
  if (theirs.signature.kind == OperationKind::kLeave) {
    check_same_operation(run, ours, link_.rank, theirs.signature, peer);
  }
  throw_different_calls(run, {link_.rank, run.call()}, {peer, theirs.signature.description()});
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
