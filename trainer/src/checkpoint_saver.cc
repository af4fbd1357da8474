// Saving and restoring over ranks.
#include "checkpoint_saver.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

#include <algorithm>
#include <utility>
#include <vector>

#include "flat_layout.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_source.h"
#include "tensor_dtype.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Reader;
using checkpoint::SourceRange;
using checkpoint::TargetRange;
using checkpoint::TensorRange;

/// The part [begin, end) of what this rank holds of a state tensor, and its memory.
SourceRange range_of(const StateTensor& tensor, FlatRange part) {
  TensorRange range{tensor.name, to_dtype(tensor.name, tensor.flat.scalar_type()), tensor.shape,
                    tensor.begin + part.begin, tensor.begin + part.end};
  const auto* base = static_cast<const char*>(tensor.flat.const_data_ptr());
  return {std::move(range), base + part.begin * tensor.flat.element_size()};
}

/// The run's best checkpoint, which its end needs.
std::optional<std::int64_t> best_step_of(const Json& run_state) {
  const Json score = run_state.value("score", Json::object());
  if (!score.is_object() || !score.contains("best_step")) return std::nullopt;
  return score.at("best_step").get<std::int64_t>();
}

FlatRange all_held(const StateTensor& tensor) { return {0, tensor.flat.numel()}; }

TargetRange target_of(const StateTensor& tensor, FlatRange part) {
  const SourceRange held = range_of(tensor, part);
  return {held.range, const_cast<void*>(held.data)};
}

// What each rank holds and is larger than this, the least that is read, is read by all together, a
// part each. The rest is not worth the messages.
constexpr std::int64_t kDividedBytes = checkpoint::kChunkBytes;

bool is_divided(const StateTensor& tensor, const Communicator& communicator) {
  return communicator.world_size() > 1 && tensor.replicated &&
         static_cast<std::int64_t>(tensor.flat.nbytes()) > kDividedBytes;
}

/// Collective. Every rank has its even part of the tensor; then all have all of it.
void exchange_parts(const StateTensor& tensor, Communicator& communicator) {
  const std::int64_t element_bytes = static_cast<std::int64_t>(tensor.flat.element_size());
  const at::Tensor bytes = at::from_blob(tensor.flat.mutable_data_ptr(),
                                         {static_cast<std::int64_t>(tensor.flat.nbytes())},
                                         at::TensorOptions(at::kByte));
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    const FlatRange part = even_part(tensor.flat.numel(), rank, communicator.world_size());
    communicator
        .broadcast(bytes.narrow(0, part.begin * element_bytes, part.numel() * element_bytes), rank)
        .wait();
  }
}

void require_known(const Checkpoint& checkpoint, const std::vector<StateTensor>& state) {
  if (state.size() == checkpoint.manifest().tensors.size()) return;
  for (const auto& [name, entry] : checkpoint.manifest().tensors) {
    bool known = false;
    for (const StateTensor& tensor : state) known = known || tensor.name == name;
    if (known) continue;
    throw CheckpointError(checkpoint.directory().string() +
                          ": expected only tensors of this model, found '" + name +
                          "'; was it written by another model? Give its options, another "
                          "--checkpoint-dir or --fresh");
  }
}

}  // namespace

SourceRange held_range(const StateTensor& tensor) { return range_of(tensor, all_held(tensor)); }

CheckpointSaver::CheckpointSaver(std::filesystem::path directory, const RankEnv& rank_env,
                                 Communicator& communicator, const SaveOptions& options,
                                 OnCommitted on_committed)
    : env_(make_system_env()),
      store_(std::move(directory), *env_),
      writer_(store_, options.most_staging_bytes),
      rank_env_(rank_env),
      communicator_(communicator),
      retention_(options.retention),
      failures_allowed_(options.failures_allowed),
      on_committed_(std::move(on_committed)) {
  retention_.validate();
  if (rank_env_.rank == 0) {
    // A restarted generation of a --fresh run goes on from that run's own checkpoints.
    if (options.fresh && rank_env_.generation == 0) move_aside();
    store_.prepare();
  }
  if (options.snapshots)
    snapshot_memory_ = checkpoint::SnapshotMemory::attach(rank_env_.snapshot_fd);
  communicator_.barrier().wait();
}

void CheckpointSaver::move_aside() {
  const std::filesystem::path& directory = store_.directory();
  try {
    if (!env_->exists(directory)) return;
    std::vector<std::string> names;
    int next = 1;
    for (const std::string& name : env_->list_directory(directory)) {
      if (name.rfind("superseded-", 0) == 0) {
        ++next;
      } else {
        names.push_back(name);
      }
    }
    if (names.empty()) return;
    const std::filesystem::path aside = directory / ("superseded-" + std::to_string(next));
    env_->create_directories(aside);
    for (const std::string& name : names) env_->rename(directory / name, aside / name);
    env_->sync_directory(directory);
    MUSTER_LOG(INFO) << "--fresh: moved " << names.size() << " entries of " << directory.string()
                     << " to " << aside.string();
  } catch (const FileError& e) {
    throw CheckpointError(std::string("--fresh: ") + e.what() + "; check --checkpoint-dir");
  }
}

std::optional<Json> CheckpointSaver::restore(
    Engine& engine,
    const std::function<void(const Json& run_state, const std::string& origin)>& check) {
  std::optional<checkpoint::TierSearch> search;
  if (rank_env_.rank == 0)
    search.emplace(store_, *env_, snapshot_memory_.get(), rank_env_.generation, best_step_of);
  std::string damage;
  while (true) {
    std::string found;
    if (search) {
      if (const auto next = search->next()) found = checkpoint::to_text(*next);
    }
    found = broadcast_text(communicator_, found);
    if (found.empty()) break;
    const checkpoint::RestoreSource source(checkpoint::tier_state_from_text(found), store_,
                                           snapshot_memory_.get(), *env_);
    const Json& run_state = source.checkpoint().manifest().run_state;
    check(run_state, source.name());
    damage = read_into(engine, source.checkpoint());
    if (damage.empty()) {
      begin_snapshots(source.snapshot());
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
  if (!snapshot_memory_) return;
  snapshots_.emplace(*snapshot_memory_, rank_env_.rank, rank_env_.world_size, rank_env_.generation,
                     restored);
}

void CheckpointSaver::snapshot(Engine& engine, std::int64_t step, const Json& run_state) {
  const auto begin = std::chrono::steady_clock::now();
  snapshots_->write(step, stored_ranges(engine), run_state);
  const std::chrono::duration<double> time = std::chrono::steady_clock::now() - begin;
  ++snapshots_taken_;
  snapshot_time_ += time;
  longest_snapshot_ = std::max(longest_snapshot_, time);
}

void CheckpointSaver::tell_snapshots() const {
  if (snapshots_taken_ == 0 || rank_env_.rank != 0) return;
  const double all = snapshot_time_.count();
  MUSTER_LOG(INFO) << snapshots_taken_ << " snapshots held the training steps for "
                   << all * 1e3 / static_cast<double>(snapshots_taken_) << " ms each, "
                   << longest_snapshot_.count() * 1e3 << " ms at most";
}

void CheckpointSaver::load(Engine& engine, std::int64_t step) {
  const std::filesystem::path path = store_.directory() / checkpoint::step_directory_name(step);
  const std::string damage = read_into(engine, Checkpoint::open(path, *env_));
  if (!damage.empty()) throw CheckpointError(damage);
}

std::string CheckpointSaver::read_into(Engine& engine, const Checkpoint& checkpoint) {
  const std::vector<StateTensor> state = engine.state();
  require_known(checkpoint, state);
  std::vector<TargetRange> targets;
  for (const StateTensor& tensor : state) {
    const FlatRange part = is_divided(tensor, communicator_) ? own_part(tensor) : all_held(tensor);
    targets.push_back(target_of(tensor, part));
  }
  const Reader reader{rank_env_.rank, rank_env_.world_size};
  const std::string damage = summary(checkpoint.load(targets, reader));
  for (const std::string& text : gather_texts(communicator_, damage)) {
    if (!text.empty()) return text;
  }
  for (const StateTensor& tensor : state) {
    if (is_divided(tensor, communicator_)) exchange_parts(tensor, communicator_);
  }
  engine.state_changed();
  // At stage 3 the parameters are one copy for all: nobody computes before all have read.
  communicator_.barrier().wait();
  return "";
}

FlatRange CheckpointSaver::own_part(const StateTensor& tensor) const {
  return even_part(tensor.flat.numel(), rank_env_.rank, rank_env_.world_size);
}

void CheckpointSaver::start(Engine& engine, std::int64_t step, Json run_state,
                            std::optional<std::int64_t> best_step) {
  settle_all();
  retention_.keep_step = best_step;
  writer_.start_shard(step, rank_env_.generation, rank_env_.rank, rank_env_.world_size,
                      stored_ranges(engine));
  tell_staging();
  in_flight_ = true;
  step_ = step;
  run_state_ = std::move(run_state);
}

std::vector<SourceRange> CheckpointSaver::stored_ranges(Engine& engine) const {
  std::vector<SourceRange> sources;
  for (const StateTensor& tensor : engine.state()) {
    // What every rank holds is divided over the files; what is sharded goes to its owner's.
    const FlatRange part = tensor.replicated ? own_part(tensor) : all_held(tensor);
    // Rank 0 stores a tensor without elements too, so that the tensor is there at a restore.
    const bool empty = c10::multiply_integers(tensor.shape) == 0;
    if (part.numel() > 0 || (rank_env_.rank == 0 && empty))
      sources.push_back(range_of(tensor, part));
  }
  return sources;
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
  writer_.start_commit(step_, rank_env_.generation, std::move(records), std::move(run_state_),
                       retention_);
  committing_ = true;
}

void CheckpointSaver::report(const checkpoint::Committed& committed) {
  committing_ = false;
  on_committed_(committed.step, committed.path);
}

bool CheckpointSaver::poll() {
  if (!committing_) return !commit_error_.empty();
  try {
    if (const auto committed = writer_.poll_commit()) report(*committed);
  } catch (const CheckpointError& error) {
    committing_ = false;
    commit_error_ = error.what();
  }
  return !commit_error_.empty();
}

void CheckpointSaver::settle() {
  MUSTER_CHECK(unsettled_);
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
  if (unsettled_) settle();
}

void CheckpointSaver::finish() {
  failures_allowed_ = 0;
  settle_all();
  tell_snapshots();
}

void CheckpointSaver::fail(const std::string& message) {
  ++failures_;
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
