// Lock, move aside, prepare: in this order, since the latter two remove what a live run needs.
#include "run_directory.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cstring>
#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/error.h"
#include "muster/base/log.h"
#include "run_together.h"

namespace muster::internal {
namespace {

constexpr const char* kSuperseded = "superseded-";

/// 3 of "superseded-3"; 0 where there is none.
int number_in(const std::string& name) {
  int number = 0;
  const char* const digits = name.c_str() + std::strlen(kSuperseded);
  std::from_chars(digits, name.c_str() + name.size(), number);
  return number;
}

/// As --run makes them in one directory.
bool is_of_another_run(const std::filesystem::path& path, Env& env) {
  return env.exists(path / checkpoint::kLockFile);
}

void move_aside(const std::filesystem::path& directory, Env& env) {
  try {
    std::vector<std::string> names;
    int next = 1;
    for (const std::string& name : env.list_directory(directory)) {
      if (name.starts_with(kSuperseded)) {
        next = std::max(next, number_in(name) + 1);
      } else if (name != checkpoint::kLockFile && !is_of_another_run(directory / name, env)) {
        names.push_back(name);
      }
    }
    if (names.empty()) return;
    const std::filesystem::path aside = directory / (kSuperseded + std::to_string(next));
    env.create_directories(aside);
    for (const std::string& name : names) env.rename(directory / name, aside / name);
    env.sync_directory(directory);
    MUSTER_LOG(INFO) << "--fresh: moved " << names.size() << " entries of " << directory.string()
                     << " to " << aside.string();
  } catch (const FileError& e) {
    throw CheckpointError(std::string("--fresh: ") + e.what() + "; check --checkpoint-dir");
  }
}

}  // namespace

RunDirectory::RunDirectory(checkpoint::CheckpointStore& store, Env& env, const RankEnv& rank_env,
                           Communicator& communicator, bool fresh) {
  const bool is_mine = rank_env.rank == 0;
  run_together(communicator, [&] {
    if (is_mine) lock_.emplace(store.directory());
  });
  wait_for_rank_0(communicator, [&] { return lock_->wait_for(kRank0Sign); });
  run_together(communicator, [&] {
    if (!is_mine) return;
    lock_->require_held();
    // A restarted generation of a --fresh run goes on from that run's own checkpoints.
    if (fresh && rank_env.generation == 0) move_aside(store.directory(), env);
    store.prepare();
  });
}

}  // namespace muster::internal
