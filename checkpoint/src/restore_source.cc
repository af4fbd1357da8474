// Looking through the tiers.
#include "muster/checkpoint/restore_source.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/snapshot_env.h"

namespace muster::checkpoint {
namespace {

SnapshotId id_of(const TierState& state) {
  return {state.step, state.generation, state.world_size};
}

TierState state_of(const SnapshotId& id) {
  return {Tier::kMemory, id.step, id.generation, id.world_size};
}

}  // namespace

RestoreSource::RestoreSource(const TierState& state, const CheckpointStore& store,
                             const SnapshotMemory* memory, Env& env)
    : state_(state) {
  if (state.tier != Tier::kMemory) {
    checkpoint_ = Checkpoint::open(store.directory() / step_directory_name(state.step), env);
    return;
  }
  auto snapshot_env = std::make_unique<SnapshotEnv>(*memory, id_of(state));
  checkpoint_ = Checkpoint::open(snapshot_env->directory(), *snapshot_env);
  snapshot_env_ = std::move(snapshot_env);
}

std::optional<SnapshotId> RestoreSource::snapshot() const {
  if (state_.tier != Tier::kMemory) return std::nullopt;
  return id_of(state_);
}

TierSearch::TierSearch(const CheckpointStore& store, Env& env, const SnapshotMemory* memory,
                       int generation, NeededStep needed_step)
    : memory_(memory),
      needed_step_(std::move(needed_step)),
      listed_(store.list()),
      search_(store, env) {
  if (memory_ == nullptr) return;
  snapshots_ = complete_snapshots(memory_->sealed_parts());
  std::erase_if(snapshots_, [&](const SnapshotId& id) { return id.generation >= generation; });
}

std::string TierSearch::problem_of(const SnapshotId& id) const {
  try {
    SnapshotEnv env(*memory_, id);
    const Checkpoint checkpoint = Checkpoint::open(env.directory(), env);
    const auto problems = checkpoint.verify();
    if (!problems.empty()) return problems.front().message;
    const auto needed = needed_step_(checkpoint.manifest().run_state);
    const bool is_there =
        !needed || std::any_of(listed_.begin(), listed_.end(), [&](const Info& info) {
          return info.complete && info.step == *needed;
        });
    if (is_there) return "";
    return "expected " + step_directory_name(*needed) +
           ", which it refers to, on disk, found that it was not saved in time";
  } catch (const CheckpointError& error) {
    return error.what();
  }
}

bool TierSearch::memory_is_next() const {
  if (snapshots_.empty()) return false;
  std::vector<TierState> states = {state_of(snapshots_.front())};
  if (on_disk_) states.push_back({Tier::kDisk, on_disk_->manifest().step});
  return restore_order(states).front().tier == Tier::kMemory;
}

std::optional<TierState> TierSearch::next() {
  if (!on_disk_ && !disk_ended_) on_disk_ = search_.next();
  disk_ended_ = !on_disk_;
  while (memory_is_next()) {
    const SnapshotId id = snapshots_.front();
    snapshots_.erase(snapshots_.begin());
    last_ = state_of(id);
    const std::string problem = problem_of(id);
    if (problem.empty()) return last_;
    reject(problem);
  }
  if (!on_disk_) return std::nullopt;
  last_ = {Tier::kDisk, on_disk_->manifest().step};
  on_disk_.reset();
  return last_;
}

void TierSearch::reject(const std::string& damage) {
  if (last_.tier == Tier::kDisk) return search_.reject(damage);
  MUSTER_LOG(WARNING) << "the snapshot of step " << last_.step
                      << " in memory is not used: " << damage;
}

std::string to_text(const TierState& state) {
  return Json{{"tier", static_cast<int>(state.tier)},
              {"step", state.step},
              {"generation", state.generation},
              {"world_size", state.world_size}}
      .dump();
}

TierState tier_state_from_text(const std::string& text) {
  const Json json = parse_json(text, "the state to restore");
  return {static_cast<Tier>(json.at("tier").get<int>()), json.at("step").get<std::int64_t>(),
          json.at("generation").get<int>(), json.at("world_size").get<int>()};
}

}  // namespace muster::checkpoint
