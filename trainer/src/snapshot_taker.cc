// Copies, timed.
#include "snapshot_taker.h"

#include <algorithm>

#include "checkpoint_ranges.h"
#include "muster/base/log.h"

namespace muster::internal {

SnapshotTaker::SnapshotTaker(const RankEnv& rank_env)
    : rank_env_(rank_env), memory_(checkpoint::SnapshotMemory::attach(rank_env.snapshot_fd)) {}

void SnapshotTaker::begin(const std::optional<checkpoint::SnapshotId>& restored) {
  writer_.emplace(*memory_, rank_env_.rank, rank_env_.world_size, rank_env_.generation, restored);
}

void SnapshotTaker::take(Engine& engine, std::int64_t step, const Json& run_state) {
  const auto begin = std::chrono::steady_clock::now();
  const HostState state(engine.state(), HostState::Contents::kValues);
  writer_->write(step, stored_ranges(state, rank_env_), run_state);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  ++taken_;
  time_ += time;
  longest_ = std::max(longest_, time);
}

void SnapshotTaker::tell() const {
  if (taken_ == 0 || rank_env_.rank != 0) return;
  MUSTER_LOG(INFO) << taken_ << " snapshots held the training steps for "
                   << time_.count() * 1e3 / static_cast<double>(taken_) << " ms each, "
                   << longest_.count() * 1e3 << " ms at most";
}

}  // namespace muster::internal
