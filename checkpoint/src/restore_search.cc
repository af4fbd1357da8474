// The order of the search, and what becomes of what is damaged.
#include "muster/checkpoint/restore_search.h"

#include <utility>

#include "file_errors.h"
#include "muster/base/error.h"
#include "muster/base/log.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

/// Throws CheckpointError where the manifest is damaged, Undecided where that cannot be told.
Checkpoint open_of_step(const Info& info, Env& env) {
  Checkpoint checkpoint = Checkpoint::open(info.path, env);
  if (checkpoint.manifest().step == info.step) return checkpoint;
  throw CheckpointError(info.path.string() + ": expected the manifest of step " +
                        std::to_string(info.step) + ", found that of step " +
                        std::to_string(checkpoint.manifest().step));
}

fs::path set_aside(const fs::path& path, Env& env) {
  fs::path aside = path;
  aside += ".damaged";
  for (int n = 2; env.exists(aside); ++n) {
    aside = path;
    aside += ".damaged-" + std::to_string(n);
  }
  env.rename(path, aside);
  env.sync_directory(path.parent_path());
  return aside;
}

}  // namespace

RestoreSearch::RestoreSearch(const CheckpointStore& store, Env& env)
    : directory_(store.directory()), env_(&env), left_(store.list()) {}

std::optional<Checkpoint> RestoreSearch::next() {
  while (!left_.empty()) {
    const Info info = std::move(left_.back());
    left_.pop_back();
    path_ = info.path;
    try {
      return open_of_step(info, *env_);
    } catch (const Undecided&) {
      throw;
    } catch (const CheckpointError& error) {
      reject(error.what());
    }
  }
  if (unanswered_.empty()) return std::nullopt;
  // A disk that neither reads nor renames says nothing about what it holds.
  throw Undecided(directory_.string() +
                  ": expected a checkpoint that can be read, found only such as can "
                  "neither be read nor set aside; nothing is begun anew in their place; "
                  "check the disk: " +
                  unanswered_);
}

void RestoreSearch::reject(const std::string& damage) {
  std::string outcome;
  try {
    outcome = "set aside as " + set_aside(path_, *env_).filename().string();
  } catch (const FileError& error) {
    outcome = std::string("it stays where it is: ") + error.what();
    unanswered_ = damage;
  }
  MUSTER_LOG(WARNING) << "checkpoint " << path_.filename().string() << " is damaged and not used; "
                      << outcome << ". " << damage;
}

}  // namespace muster::checkpoint
