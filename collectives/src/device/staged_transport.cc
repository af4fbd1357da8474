// The pipeline: in, over, out.
#include "device/staged_transport.h"

#include <algorithm>
#include <cstring>
#include <utility>

namespace muster::internal {

StagedTransport::StagedTransport(std::unique_ptr<Transport> host, std::shared_ptr<Device> device,
                                 int rank, int world_size, std::int64_t half_bytes)
    : DeviceTransport(std::move(host), std::move(device), rank, world_size),
      half_bytes_(half_bytes),
      area_(this->host().allocate_symmetric(2 * half_bytes)),
      pinned_(this->device().pin(area_.get(), 2 * half_bytes)) {}

StagedTransport::~StagedTransport() {
  if (!host().memory_in_flight()) return;
  keep_for_ever(std::move(pinned_));
  keep_for_ever(std::move(area_));
}

std::unique_ptr<Transport> StagedTransport::rewired(std::unique_ptr<Transport> host, int rank,
                                                    int world_size) {
  return std::make_unique<StagedTransport>(std::move(host), shared_device(), rank, world_size,
                                           half_bytes_);
}

// The host waits for nothing but what its next step needs.
void StagedTransport::run_on_device(const OperationRun& run) {
  const Operation& op = run.operation();
  const std::int64_t largest = op.largest_part >= 0 ? op.largest_part : largest_part_of_all(run);
  const StagingPlan plan(op, rank(), world_size(), largest, half_bytes_);
  device().follow(Lane::kFirst, op.issued);
  device().follow(Lane::kSecond, op.issued);
  copy_all(Lane::kSecond, plan.own_copies());
  const auto bring_in = [&](std::int64_t k) {
    if (k < plan.pieces()) copy_all(Lane::kFirst, plan.copies_in(k, half(k)));
    return device().mark(Lane::kFirst);
  };
  DeviceMark in = bring_in(0);
  DeviceMark out = device().mark(Lane::kSecond);
  for (std::int64_t k = 0; k < plan.pieces(); ++k) {
    wait_for(in, run);
    device().follow(Lane::kFirst, out);  // of piece k - 1, whose half the next piece gets
    in = bring_in(k + 1);
    const Operation piece = plan.on_area(k, half(k));
    host().run(run.step(piece));
    copy_all(Lane::kSecond, plan.copies_out(k, half(k)));
    out = device().mark(Lane::kSecond);
  }
  wait_for_lanes(run);
}

// Of an operation whose counts the ranks need not agree on.
std::int64_t StagedTransport::largest_part_of_all(const OperationRun& run) {
  std::int64_t own = 0;
  for (const Part& part : run.operation().parts) own = std::max(own, part.numel);
  std::vector<std::byte> bytes(sizeof(own));
  std::memcpy(bytes.data(), &own, sizeof(own));
  const std::vector<std::byte> all = from_all(run, bytes);
  for (std::size_t r = 0; r * sizeof(own) < all.size(); ++r) {
    std::int64_t theirs = 0;
    std::memcpy(&theirs, all.data() + r * sizeof(theirs), sizeof(theirs));
    own = std::max(own, theirs);
  }
  return own;
}

void StagedTransport::copy_all(Lane lane, const std::vector<StagedCopy>& copies) {
  for (const StagedCopy& copy : copies) device().copy(lane, copy.to, copy.from, copy.bytes);
}

}  // namespace muster::internal
