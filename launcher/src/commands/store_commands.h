// Commands that read checkpoints wherever an Env finds them: on disk, or in an object store.
#ifndef MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_
#define MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_

#include "commands/command.h"
#include "muster/base/env.h"

namespace muster::launcher {

int inspect_in(Env& env, const Words& words);
int verify_in(Env& env, const Words& words);
int checkpoints_in(Env& env, const Words& words);
int prune_in(Env& env, const Words& words);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_STORE_COMMANDS_H_
