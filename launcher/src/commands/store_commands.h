// Commands on checkpoints wherever an Env finds them: on disk, or in an object store.
#ifndef MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_
#define MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_

#include <functional>
#include <string>

#include "commands/command.h"
#include "muster/base/env.h"
#include "muster/checkpoint/model_registry.h"

namespace muster::launcher {

int inspect_in(Env& env, const Words& words);
int verify_in(Env& env, const Words& words);
int checkpoints_in(Env& env, const Words& words);
int prune_in(Env& env, const Words& words);

/// What reads a checkpoint, and what keeps models, at a path.
struct ModelPlaces {
  std::function<Env&(const std::string& path)> env;
  std::function<checkpoint::ModelRegistry(const std::string& directory)> registry;
};
int model_in(const ModelPlaces& places, const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_
