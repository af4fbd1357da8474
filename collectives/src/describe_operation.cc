// What all descriptions share, and those of operations between two ranks or without data.
#include "describe_operation.h"

#include <ATen/ops/empty.h>

#include "describe_parts.h"
#include "tensor_checks.h"

namespace muster::internal {
namespace {

void check_peer(OperationKind kind, const Caller& caller, int peer) {
  if (peer >= 0 && peer < caller.world_size && peer != caller.rank) return;
  reject(kind, "another rank in [0, " + std::to_string(caller.world_size) + ")",
         std::to_string(peer) + (peer == caller.rank ? ", this rank itself" : ""),
         "name a rank of this communicator");
}

}  // namespace

Operation describe_send(const Caller& caller, const at::Tensor& tensor, int peer) {
  constexpr auto kKind = OperationKind::kSend;
  check_tensor(kKind, tensor, caller.device_type);
  check_peer(kKind, caller, peer);
  Operation operation;
  operation.signature = signature_of(kKind, tensor);
  operation.parts = {part_of(tensor)};
  operation.peer = peer;
  return operation;
}

Operation describe_receive(const Caller& caller, const at::Tensor& tensor, int peer) {
  constexpr auto kKind = OperationKind::kReceive;
  check_tensor(kKind, tensor, caller.device_type);
  check_peer(kKind, caller, peer);
  Operation operation;
  operation.signature = signature_of(kKind, tensor);
  operation.output = bytes_of(tensor);
  operation.peer = peer;
  return operation;
}

Operation describe_meeting(OperationKind kind) {
  Operation operation;
  operation.signature.kind = kind;
  return operation;
}

Operation describe_open_window(std::int64_t numel, at::ScalarType dtype) {
  check_size(operation_name(OperationKind::kOpenWindow), numel, dtype);
  Operation operation;
  operation.signature = signature_of(OperationKind::kOpenWindow, at::empty({0}, dtype));
  operation.signature.numel = numel;
  return operation;
}

}  // namespace muster::internal
