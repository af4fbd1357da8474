// From signatures to texts and numbers, without an allocation.
#include "flight_call.h"

namespace muster::internal {
namespace {

void add_peer(FlightCall& call, const Operation& operation) {
  if (operation.flow() == Flow::kPeer) {
    const bool sends = operation.signature.kind == OperationKind::kSend;
    call.peer_role = sends ? FlightPeer::kTo : FlightPeer::kFrom;
    call.peer = operation.peer;
  } else if (operation.signature.root >= 0) {
    call.peer_role = FlightPeer::kRoot;
    call.peer = operation.signature.root;
  }
}

}  // namespace

FlightCall flight_call(const Operation& operation) {
  const Signature& signature = operation.signature;
  FlightCall call;
  call.operation = operation_name(signature.kind);
  const bool is_split = signature.kind == OperationKind::kSplit;
  if (operation.flow() == Flow::kNothing || is_split) return call;
  call.dtype = signature.dtype_name;
  call.combine = signature.combination();
  call.elements = signature.numel;
  call.bytes = signature.numel < 0 ? -1 : operation.part_bytes();
  add_peer(call, operation);
  return call;
}

}  // namespace muster::internal
