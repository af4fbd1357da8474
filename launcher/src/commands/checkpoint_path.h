// Which checkpoint does a path on the command line mean?
#ifndef MUSTER_LAUNCHER_COMMANDS_CHECKPOINT_PATH_H_
#define MUSTER_LAUNCHER_COMMANDS_CHECKPOINT_PATH_H_

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::launcher {

/// A run that saves faster than it is looked at is not looked at for ever.
inline constexpr int kMostChoices = 10;

/// The checkpoints at `path`, oldest first: itself when it is one, else all in it, complete or not.
/// Throws ConfigError when there is none; `command` is for the message.
std::vector<std::filesystem::path> checkpoints_at(const std::string& path,
                                                  const std::string& command, Env& env);

/// `path` itself when it is a checkpoint, else the newest in it whose manifest is sound; the
/// damaged and unfinished ones before it are named on standard error. Throws ConfigError when there
/// is none, CheckpointError when none is sound or nothing can be told about a newer one. Where a
/// run that lives deletes one meanwhile, it looks again, kMostChoices times at most.
checkpoint::Checkpoint open_newest_at(const std::string& path, const std::string& command,
                                      Env& env);

/// What `work` returns for what open_newest_at() opens. Where the run that lives in the directory
/// `path` deletes that one meanwhile and `work` throws CheckpointError, `work` is called again with
/// the one that is the newest then: until it has read all, it must not print.
int with_newest_at(const std::string& path, const std::string& command, Env& env,
                   const std::function<int(const checkpoint::Checkpoint&)>& work);

/// Whether the step-NNNNNNNN at `path` is in a store and has no manifest, which is uploaded last
/// and deleted first: it is being uploaded or deleted, or was when that died. On disk, where
/// checkpoints get their names whole, that is damage.
bool is_unfinished(const std::filesystem::path& path, Env& env);

/// Whether the name says safetensors, so that it is no directory of checkpoints.
bool is_safetensors_path(const std::string& path);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_CHECKPOINT_PATH_H_
