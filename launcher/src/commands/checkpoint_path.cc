// Paths to checkpoints.
#include "commands/checkpoint_path.h"

#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/manifest.h"

namespace muster::launcher {
namespace {

// A damaged one may have lost its manifest and is still known by its name.
bool is_checkpoint(const std::filesystem::path& path, Env& env) {
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  return env.exists(path / checkpoint::kManifestFile) ||
         checkpoint::step_of_directory_name(named.filename().string()).has_value();
}

[[noreturn]] void throw_no_checkpoint(const std::string& path, const std::string& command,
                                      Env& env) {
  throw ConfigError("muster " + command +
                    ": expected a checkpoint, or a directory with step-NNNNNNNN in it; found " +
                    (env.exists(path) ? "none in '" + path + "'" : "no '" + path + "'") +
                    "; check the path");
}

}  // namespace

std::vector<std::filesystem::path> checkpoints_at(const std::string& path,
                                                  const std::string& command, Env& env) {
  if (env.exists(path) && is_checkpoint(path, env)) return {path};
  std::vector<std::filesystem::path> found;
  for (const checkpoint::Info& info : checkpoint::CheckpointStore(path, env).list()) {
    found.push_back(info.path);
  }
  if (found.empty()) throw_no_checkpoint(path, command, env);
  return found;
}

std::filesystem::path newest_checkpoint_at(const std::string& path, const std::string& command,
                                           Env& env) {
  if (env.exists(path) && is_checkpoint(path, env)) return path;
  const std::vector<checkpoint::Info> all = checkpoint::CheckpointStore(path, env).list();
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    if (info->complete) return info->path;
  }
  throw_no_checkpoint(path, command, env);
}

}  // namespace muster::launcher
