// Reducing over one rank is a copy; the canonical form has one subtree, the whole tree, and nothing
// to do.
#include "single_transport.h"

#include <cstring>

namespace muster::internal {

void SingleTransport::run(const OperationRun& run) {
  const Operation& op = run.operation();
  if (op.parts.empty() || op.parts[0] == op.output || op.part_bytes() == 0) return;
  std::memcpy(op.output, op.parts[0], static_cast<std::size_t>(op.part_bytes()));
}

std::shared_ptr<std::byte> SingleTransport::allocate_symmetric(std::int64_t bytes) {
  return allocate_zeroed(bytes);
}

}  // namespace muster::internal
