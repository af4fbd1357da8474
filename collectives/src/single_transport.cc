// Reducing over one rank is a copy; the canonical form has one subtree, the whole tree.
#include "single_transport.h"

#include "muster/base/check.h"

namespace muster::internal {

void SingleTransport::run(const OperationRun& run) {
  const Operation& op = run.operation();
  greet(run);
  if (op.output != nullptr) copy_bytes(op.output, op.parts[0].data, op.part_bytes());
  for (const Pull& pull : op.pulls) {
    copy_bytes(pull.to, op.parts[static_cast<std::size_t>(pull.part)].data,
               pull.numel * op.element_bytes());
  }
}

// With itself a rank disagrees only about counts.
void SingleTransport::greet(const OperationRun& run) {
  const Operation& op = run.operation();
  for (const Pull& pull : op.pulls) {
    check_same_count(run, {0, 0}, op.parts[static_cast<std::size_t>(pull.part)].numel, pull.numel);
  }
}

std::unique_ptr<Transfer> SingleTransport::start_transfer(const OperationRun& run) {
  MUSTER_CHECK(false) << run.description() << ": there is no other rank";
}

std::shared_ptr<std::byte> SingleTransport::allocate_symmetric(std::int64_t bytes) {
  return allocate_zeroed(bytes);
}

std::shared_ptr<std::byte> SingleTransport::allocate_shared(std::int64_t bytes) {
  return allocate_zeroed(bytes);
}

WindowMemory SingleTransport::open_window(const OperationRun&, std::int64_t bytes) {
  std::shared_ptr<std::byte> own = allocate_zeroed(bytes);
  const std::byte* const mapped = own.get();
  return {std::move(own), {mapped}, nullptr};
}

std::unique_ptr<Transport> SingleTransport::split(const OperationRun&,
                                                  const std::vector<std::vector<int>>&, int own) {
  if (own < 0) return nullptr;
  return std::make_unique<SingleTransport>();
}

NextGeneration SingleTransport::regroup(const OperationRun&, Regrouping) {
  return {std::make_unique<SingleTransport>(), {0}, 0};
}

}  // namespace muster::internal
