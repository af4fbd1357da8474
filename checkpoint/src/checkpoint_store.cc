// Everything but the commit that lists, renames or removes.
#include "muster/checkpoint/checkpoint_store.h"

#include <algorithm>
#include <cerrno>
#include <utility>

#include "durable_files.h"
#include "file_errors.h"
#include "hidden_names.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_search.h"
#include "muster/checkpoint/transfer.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using internal::hidden;
using internal::kAttemptPrefix;
using internal::kReplacedPrefix;
using internal::kRetiredPrefix;
using internal::with_file_errors;
using internal::with_read_errors;

constexpr const char* kProbeFile = ".write-probe";

void prove_writable(const fs::path& directory, Env& env) {
  const fs::path probe = directory / kProbeFile;
  const auto file = env.create_file(probe);
  file->write_at(0, kProbeFile, 1);
  file->sync();
  file->close();
  env.remove_all(probe);
}

/// A commit that died between its two renames left the old checkpoint under a hidden name.
void restore_replaced(const fs::path& directory, const std::string& name, Env& env) {
  const fs::path replaced = directory / name;
  const fs::path original = directory / name.substr(kReplacedPrefix.size());
  if (env.exists(original)) {
    env.remove_all(replaced);
    return;
  }
  MUSTER_LOG(WARNING) << "a save was interrupted while it replaced " << original.string()
                      << "; the replaced checkpoint is put back";
  env.rename(replaced, original);
  env.sync_directory(directory);
}

void clean_up(const fs::path& directory, Env& env) {
  for (const std::string& name : env.list_directory(directory)) {
    if (name.starts_with(kAttemptPrefix) || name.starts_with(kRetiredPrefix)) {
      env.remove_all(directory / name);
    } else if (name.starts_with(kReplacedPrefix)) {
      restore_replaced(directory, name, env);
    }
  }
}

/// Throws Undecided where that cannot be told.
bool is_complete(const Info& info, Env& env) {
  try {
    return with_read_errors("listing checkpoints", [&] {
      const Checkpoint checkpoint = Checkpoint::open(info.path, env);
      if (checkpoint.manifest().step != info.step) return false;
      return std::all_of(checkpoint.manifest().files.begin(), checkpoint.manifest().files.end(),
                         [&](const ManifestFile& file) {
                           const auto found = env.open_file(info.path / file.file)->size_bytes();
                           return found == static_cast<std::uint64_t>(file.bytes);
                         });
    });
  } catch (const Undecided&) {
    throw;
  } catch (const CheckpointError&) {
    return false;
  }
}

/// A checkpoint between evaluations has the score of an earlier one, which is not its own.
std::optional<double> own_score(const Manifest& manifest, const std::string& metric) {
  const Json& run_state = manifest.run_state;
  const bool elsewhere = run_state.is_object() && run_state.contains("evaluated_step") &&
                         run_state.at("evaluated_step") != manifest.step;
  return elsewhere ? std::nullopt : score_in(run_state, metric);
}

/// What the rule gives up among the complete checkpoints.
std::vector<std::int64_t> expired_in(const CheckpointStore& store, const Retention& retention,
                                     Env& env) {
  std::vector<Candidate> candidates;
  for (const Info& info : store.list()) {
    if (!info.complete) continue;
    Candidate candidate{.step = info.step};
    if (retention.keep_best > 0) {
      const Checkpoint checkpoint = Checkpoint::open(info.path, env);
      candidate.score = own_score(checkpoint.manifest(), retention.metric);
    }
    candidates.push_back(candidate);
  }
  return expired_steps(judge(retention, candidates));
}

/// A half-deleted checkpoint never bears a checkpoint's name; where nothing can be renamed, it is
/// gone whole or has no manifest.
void take_out_of_sight(const fs::path& path, Env& env) {
  env.remove_all(hidden(path, kRetiredPrefix));
  try {
    env.rename(path, hidden(path, kRetiredPrefix));
  } catch (const FileError& error) {
    if (error.errno_value() != ENOTSUP) throw;
    remove_checkpoint(path, env);
  }
}

}  // namespace

CheckpointStore::CheckpointStore(fs::path directory, Env& env)
    // Without a trailing slash, so that the parent is the parent.
    : directory_(directory.has_filename() ? std::move(directory) : directory.parent_path()),
      env_(&env) {}

void CheckpointStore::prepare() {
  with_file_errors("checkpoint directory " + directory_.string() + " cannot be used", [&] {
    internal::create_directories_durably(directory_, *env_);
    prove_writable(directory_, *env_);
    clean_up(directory_, *env_);
  });
}

void CheckpointStore::discard(std::int64_t step, int generation) const {
  with_file_errors("removing an unfinished checkpoint", [&] {
    env_->remove_all(directory_ / attempt_directory_name(step, generation));
  });
}

std::vector<Info> CheckpointStore::list() const {
  return with_file_errors("listing checkpoints", [&] {
    std::vector<Info> infos;
    if (!env_->exists(directory_)) return infos;
    for (const std::string& name : env_->list_directory(directory_)) {
      const std::optional<std::int64_t> step = step_of_directory_name(name);
      if (!step) continue;
      Info info{*step, directory_ / name, false};
      info.complete = is_complete(info, *env_);
      infos.push_back(std::move(info));
    }
    std::sort(infos.begin(), infos.end(),
              [](const Info& a, const Info& b) { return a.step < b.step; });
    return infos;
  });
}

std::vector<fs::path> CheckpointStore::retain(const Retention& retention) const {
  if (expired_in(*this, retention, *env_).empty()) return {};
  // Verifying sets a damaged newest one aside, so it no longer counts as kept.
  const std::optional<Checkpoint> newest = newest_valid();
  if (!newest) return {};
  std::vector<std::int64_t> expired = expired_in(*this, retention, *env_);
  std::erase(expired, newest->manifest().step);
  return remove(expired);
}

std::vector<fs::path> CheckpointStore::remove(const std::vector<std::int64_t>& steps) const {
  return with_file_errors("deleting expired checkpoints", [&] {
    std::vector<fs::path> deleted;
    for (const std::int64_t step : steps) {
      const fs::path path = directory_ / step_directory_name(step);
      if (!env_->exists(path)) continue;
      take_out_of_sight(path, *env_);
      deleted.push_back(path);
    }
    if (!deleted.empty()) env_->sync_directory(directory_);
    for (const fs::path& path : deleted) env_->remove_all(hidden(path, kRetiredPrefix));
    return deleted;
  });
}

std::optional<Checkpoint> CheckpointStore::newest_valid() const {
  RestoreSearch search(*this, *env_);
  while (std::optional<Checkpoint> checkpoint = search.next()) {
    const std::string damage = summary(checkpoint->verify());
    if (damage.empty()) return checkpoint;
    search.reject(damage);
  }
  return std::nullopt;
}

}  // namespace muster::checkpoint
