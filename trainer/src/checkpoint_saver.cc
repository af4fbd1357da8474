// Saving and restoring over ranks.
#include "checkpoint_saver.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "checkpoint_ranges.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_source.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {

using checkpoint::Checkpoint;

/// The run's best checkpoint, which its end needs.
std::optional<std::int64_t> best_step_of(const Json& run_state) {
  const Json score = run_state.value("score", Json::object());
  if (!score.is_object() || !score.contains("best_step")) return std::nullopt;
  return score.at("best_step").get<std::int64_t>();
}

}  // namespace

CheckpointSaver::CheckpointSaver(std::filesystem::path directory, const RankEnv& rank_env,
                                 Communicator& communicator, const SaveOptions& options,
                                 OnCommitted on_committed)
    : env_(make_system_env()),
      store_(std::move(directory), *env_),
      rank_env_(rank_env),
      communicator_(communicator),
      run_directory_(store_, *env_, rank_env, communicator, options.fresh),
      writer_(store_, options.most_staging_bytes),
      retention_(options.retention),
      failures_allowed_(options.failures_allowed),
      on_committed_(std::move(on_committed)) {
  retention_.validate();
  if (options.snapshots) snapshots_.emplace(rank_env_);
  if (options.upload_url.empty()) return;
  upload_.emplace(options.upload_url, rank_env_, communicator_, options.failures_allowed);
  if (options.fresh && rank_env_.generation == 0) upload_->require_empty();
}

std::string CheckpointSaver::next_state(std::optional<checkpoint::TierSearch>& search,
                                        const Check& check) {
  const auto begin_search = [&] {
    search.emplace(store_, *env_, snapshot_memory(), rank_env_.generation, best_step_of);
  };
  const bool searches = rank_env_.rank == 0;
  if (searches && !search) begin_search();
  std::optional<checkpoint::TierState> next;
  if (searches) next = search->next();
  if (upload_ &&
      upload_->fetch_newer(next ? next->step : 0, store_.directory(), check, best_step_of)) {
    if (searches) {
      begin_search();
      next = search->next();
    }
  }
  return broadcast_text(communicator_, next ? checkpoint::to_text(*next) : "");
}

std::optional<Json> CheckpointSaver::restore(Engine& engine, const Check& check) {
  std::optional<checkpoint::TierSearch> search;
  std::string damage;
  while (true) {
    const std::string found = next_state(search, check);
    if (found.empty()) break;
    const checkpoint::RestoreSource source(checkpoint::tier_state_from_text(found), store_,
                                           snapshot_memory(), *env_);
    const Json& run_state = source.checkpoint().manifest().run_state;
    check(run_state, source.name());
    damage = read_into(engine, rank_env_, communicator_, source.checkpoint());
    if (damage.empty()) {
      begin_snapshots(source.snapshot());
      if (upload_ && rank_env_.rank == 0 && !source.snapshot())
        upload_->catch_up(source.state().step, source.checkpoint().directory(), retention_);
      return run_state;
    }
    if (search) search->reject(damage);
  }
  begin_snapshots(std::nullopt);
  if (damage.empty()) return std::nullopt;
  throw CheckpointError("expected a whole checkpoint before the damaged one, found none in " +
                        store_.directory().string() +
                        ", and a part of the damaged one is read already; it is set aside: start "
                        "again to begin anew. " +
                        damage);
}

void CheckpointSaver::begin_snapshots(const std::optional<checkpoint::SnapshotId>& restored) {
  restored_snapshot_ = restored.has_value();
  if (snapshots_) snapshots_->begin(restored);
}

const checkpoint::SnapshotMemory* CheckpointSaver::snapshot_memory() const {
  return snapshots_ ? &snapshots_->memory() : nullptr;
}

void CheckpointSaver::snapshot(Engine& engine, std::int64_t step, const Json& run_state) {
  snapshots_->take(engine, step, run_state);
}

bool CheckpointSaver::has(std::int64_t step) {
  const std::filesystem::path path = store_.directory() / checkpoint::step_directory_name(step);
  const bool there = rank_env_.rank == 0 && env_->exists(path);
  return !broadcast_text(communicator_, there ? "there" : "").empty();
}

void CheckpointSaver::load(Engine& engine, std::int64_t step) {
  const std::filesystem::path path = store_.directory() / checkpoint::step_directory_name(step);
  const std::string damage =
      read_into(engine, rank_env_, communicator_, Checkpoint::open(path, *env_));
  if (!damage.empty()) throw CheckpointError(damage);
}

void CheckpointSaver::start(Engine& engine, std::int64_t step, Json run_state,
                            std::optional<std::int64_t> best_step) {
  settle_all();
  retention_.keep_step = best_step;
  const HostState state(engine.state(), HostState::Contents::kValues);
  writer_.start_shard(step, rank_env_.generation, rank_env_.rank, rank_env_.world_size,
                      stored_ranges(state, rank_env_));
  tell_staging();
  in_flight_ = true;
  step_ = step;
  run_state_ = std::move(run_state);
}

void CheckpointSaver::tell_staging() {
  if (staging_told_ || rank_env_.rank != 0) return;
  staging_told_ = true;
  const std::int64_t mib = (writer_.staging_bytes() + (1 << 20) - 1) >> 20;
  MUSTER_LOG(INFO) << "checkpoints are "
                   << (mib == 0 ? std::string("written while the step waits, without staging")
                                : "staged in " + std::to_string(mib) + " MiB a rank");
}

bool CheckpointSaver::part_ended() {
  if (!in_flight_) return false;
  if (written_ || !part_error_.empty()) return true;
  try {
    written_ = writer_.poll_shard();
    return written_.has_value();
  } catch (const CheckpointError& error) {
    part_error_ = error.what();
    return true;
  }
}

void CheckpointSaver::end_part() {
  if (written_ || !part_error_.empty()) return;
  try {
    written_ = writer_.wait_shard();
  } catch (const CheckpointError& error) {
    part_error_ = error.what();
  }
}

void CheckpointSaver::commit() {
  MUSTER_CHECK(in_flight_);
  end_part();
  const std::vector<std::string> errors =
      gather_texts(communicator_, std::exchange(part_error_, ""));
  const std::vector<std::string> texts =
      gather_texts(communicator_, written_ ? written_->record.to_json().dump() : "");
  written_.reset();
  in_flight_ = false;
  for (std::size_t rank = 0; rank < errors.size(); ++rank) {
    if (errors[rank].empty()) continue;
    discard();
    fail("rank " + std::to_string(rank) + ": " + errors[rank]);
    return;
  }
  unsettled_ = true;
  if (rank_env_.rank != 0) return;
  std::vector<checkpoint::ShardRecord> records;
  for (const std::string& text : texts) {
    records.push_back(checkpoint::ShardRecord::from_json(parse_json(text, "shard record")));
  }
  if (upload_) retention_.in_use = upload_->steps_in_use();
  writer_.start_commit(step_, rank_env_.generation, std::move(records), std::move(run_state_),
                       retention_);
  committing_ = true;
}

void CheckpointSaver::report(const checkpoint::Committed& committed) {
  committing_ = false;
  on_committed_(committed.step, committed.path);
  if (upload_) upload_->start(committed.step, committed.path, retention_);
}

bool CheckpointSaver::poll() {
  try {
    if (committing_) {
      if (const auto committed = writer_.poll_commit()) report(*committed);
    }
  } catch (const CheckpointError& error) {
    committing_ = false;
    commit_error_ = error.what();
  }
  return !commit_error_.empty() || (upload_ && upload_->failed());
}

void CheckpointSaver::settle() {
  if (unsettled_) settle_commit();
  if (upload_) upload_->settle();
}

void CheckpointSaver::settle_commit() {
  unsettled_ = false;
  if (committing_) {
    try {
      report(writer_.wait_commit());
    } catch (const CheckpointError& error) {
      committing_ = false;
      commit_error_ = error.what();
    }
  }
  const std::string error = broadcast_text(communicator_, std::exchange(commit_error_, ""));
  if (error.empty()) {
    failures_ = 0;
    return;
  }
  discard();
  fail(error);
}

void CheckpointSaver::settle_all() {
  if (in_flight_) commit();
  settle();
}

void CheckpointSaver::finish() {
  failures_allowed_ = 0;
  settle_all();
  if (upload_) upload_->finish();
  retain_again();
  if (snapshots_) snapshots_->tell();
}

// What was kept because it was being uploaded.
void CheckpointSaver::retain_again() {
  if (rank_env_.rank != 0 || retention_.in_use.empty()) return;
  retention_.in_use.clear();
  try {
    store_.retain(retention_);
  } catch (const CheckpointError& error) {
    MUSTER_LOG(WARNING) << "more checkpoints are kept than asked for: " << error.what();
  }
}

void CheckpointSaver::fail(const std::string& message) {
  ++failures_;
  failed_steps_.push_back(step_);
  const std::string row = std::to_string(failures_) + " in a row, " +
                          std::to_string(failures_allowed_) + " allowed (--checkpoint-failures)";
  if (failures_ > failures_allowed_) throw CheckpointError(message + "; " + row);
  if (rank_env_.rank == 0)
    MUSTER_LOG(WARNING) << "a checkpoint was not saved, training goes on: " << message << "; "
                        << row;
}

void CheckpointSaver::discard() {
  if (rank_env_.rank != 0) return;
  try {
    store_.discard(step_, rank_env_.generation);
  } catch (const CheckpointError& error) {
    MUSTER_LOG(WARNING) << "an unfinished checkpoint stays until the next run: " << error.what();
  }
}

}  // namespace muster::internal
