// The commit protocol. Apart from the rest of the store, so that a program which commits nothing
// needs no HDF5.
#include <string_view>
#include <utility>

#include "durable_files.h"
#include "file_errors.h"
#include "hdf5_view.h"
#include "hidden_names.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using internal::hidden;
using internal::kAttemptPrefix;
using internal::kReplacedPrefix;
using internal::with_file_errors;

void check_shards_visible(const fs::path& attempt, const Manifest& manifest, Env& env) {
  for (const ManifestFile& file : manifest.files) {
    const fs::path path = attempt / file.file;
    const auto bytes = static_cast<std::int64_t>(env.open_file(path)->size_bytes());
    if (bytes == file.bytes) continue;
    throw CheckpointError(path.string() + ": expected the " + std::to_string(file.bytes) +
                          " bytes that its rank wrote, found " + std::to_string(bytes) +
                          "; all ranks must share the checkpoint directory");
  }
}

/// Gives `attempt` its final name. A checkpoint that has that name already stays restorable at
/// every instant: prepare() puts it back where a crash came between the two renames.
void publish(const fs::path& attempt, const fs::path& target, Env& env) {
  const fs::path replaced = hidden(target, kReplacedPrefix);
  const bool replaces = env.exists(target);
  if (replaces) {
    env.remove_all(replaced);
    env.rename(target, replaced);
  }
  try {
    env.rename(attempt, target);
  } catch (const FileError&) {
    if (replaces) env.rename(replaced, target);
    throw;
  }
  env.sync_directory(target.parent_path());
}

/// An attempt at a step that is committed, or older: no one will finish it. Other ranks may already
/// be writing a later one.
bool is_stale_attempt(std::string_view name, std::int64_t committed_step) {
  if (!name.starts_with(kAttemptPrefix)) return false;
  name.remove_prefix(kAttemptPrefix.size());
  const auto step = step_of_directory_name(name.substr(0, name.rfind("-g")));
  return step && *step <= committed_step;
}

/// After a commit the checkpoint is safe, so what cannot be tidied up is no failure of the save.
void tidy_up(const fs::path& directory, std::int64_t committed_step, Env& env) {
  try {
    for (const std::string& name : env.list_directory(directory)) {
      if (is_stale_attempt(name, committed_step) || name.starts_with(kReplacedPrefix)) {
        env.remove_all(directory / name);
      }
    }
  } catch (const FileError& error) {
    MUSTER_LOG(WARNING) << "a leftover of an earlier save stays behind: " << error.what();
  }
}

}  // namespace

fs::path CheckpointStore::commit(std::int64_t step, int generation,
                                 const std::vector<ShardRecord>& records, Json run_state) const {
  Manifest manifest = Manifest::from_records(step, generation, records, std::move(run_state));
  const fs::path attempt = directory_ / attempt_directory_name(step, generation);
  const fs::path target = directory_ / step_directory_name(step);
  with_file_errors("saving " + step_directory_name(step), [&] {
    check_shards_visible(attempt, manifest, *env_);
    manifest.files.push_back(internal::write_view(manifest, attempt, *env_));
    internal::write_file_durably(attempt / kManifestFile, manifest.to_text(), *env_);
    env_->sync_directory(attempt);
    publish(attempt, target, *env_);
  });
  tidy_up(directory_, step, *env_);
  return target;
}

}  // namespace muster::checkpoint
