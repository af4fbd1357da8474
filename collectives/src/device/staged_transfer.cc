// The stages of a transfer. A receive, too, waits for what its caller's device does before.
#include "device/staged_transfer.h"

#include <string>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {

StagedTransfer::StagedTransfer(Transport& host, Device& device, const OperationRun& run)
    : host_(host),
      device_(device),
      on_host_(run.operation()),
      host_run_(run.step(on_host_)),
      bytes_(run.operation().part_bytes()) {
  const Operation& op = run.operation();
  if (bytes_ > 0) memory_ = device_.host_memory(bytes_);
  on_host_.issued = nullptr;
  // What goes to the host and what comes from it are in lanes of their own, so that neither waits.
  const Lane lane = sends() ? Lane::kFirst : Lane::kSecond;
  device_.follow(lane, op.issued);
  if (sends()) {
    on_host_.parts[0].data = memory_.get();
    if (bytes_ > 0) device_.copy(lane, memory_.get(), op.parts[0].data, bytes_);
  } else {
    destination_ = op.output;
    on_host_.output = memory_.get();
  }
  copied_ = device_.mark(lane);
}

StagedTransfer::~StagedTransfer() {
  if (!transfer_) return;
  transfer_.reset();
  if (host_.memory_in_flight()) keep_for_ever(std::move(memory_));
}

Turn StagedTransfer::advance(const OperationRun&) {
  switch (stage_) {
    case Stage::kComingIn:
      if (sends() && !device_.reached(copied_)) return Turn::kIdle;
      transfer_ = host_.start_transfer(host_run_);
      stage_ = Stage::kTravelling;
      return Turn::kMoved;
    case Stage::kTravelling:
      return travel();
    case Stage::kGoingOut:
      if (!device_.reached(copied_)) return Turn::kIdle;
      stage_ = Stage::kEnded;
      return Turn::kEnded;
    case Stage::kEnded:
      return Turn::kEnded;
  }
  return Turn::kEnded;
}

Turn StagedTransfer::travel() {
  const Turn turn = transfer_->advance(host_run_);
  if (turn != Turn::kEnded) return turn;
  transfer_.reset();
  if (sends() || bytes_ == 0) {
    stage_ = Stage::kEnded;
    return Turn::kEnded;
  }
  device_.copy(Lane::kSecond, destination_, memory_.get(), bytes_);
  copied_ = device_.mark(Lane::kSecond);
  stage_ = Stage::kGoingOut;
  return Turn::kMoved;
}

void StagedTransfer::check(const OperationRun& run) {
  if (transfer_) return transfer_->check(host_run_);
  run.check_wanted();
  if (!run.overdue()) return;
  throw Timeout(run.description() + ": expected it to end within " +
                std::to_string(run.timeout().count()) +
                " ms, found this rank's GPU still at work before or behind it; " + kRestartAdvice +
                ", or allow more time");
}

}  // namespace muster::internal
