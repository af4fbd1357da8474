// muster verify
#include <cstdio>
#include <optional>
#include <string>
#include <vector>

#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/read_errors.h"

namespace muster::launcher {
namespace {

struct Verdict {
  const char* state = "sound";
  std::vector<std::string> problems{};
};

Verdict verdict_on(const std::filesystem::path& path, Env& env) {
  try {
    Verdict verdict;
    for (const checkpoint::Problem& problem : checkpoint::Checkpoint::open(path, env).verify()) {
      verdict.state = "damaged";
      verdict.problems.push_back(problem.message);
    }
    return verdict;
  } catch (const checkpoint::Undecided& e) {
    return {"unreadable", {e.what()}};
  } catch (const CheckpointError& e) {  // the manifest itself
    return {"damaged", {e.what()}};
  }
}

/// Prints the verdicts on all that stay. Returns whether all are sound; nothing where none stays.
/// That of `named` counts although it is unfinished.
std::optional<bool> all_sound(const std::vector<std::filesystem::path>& paths,
                              const std::string& named, Env& env) {
  std::optional<bool> sound;
  for (const auto& path : paths) {
    const Verdict verdict = verdict_on(path, env);
    if (!verdict.problems.empty() && !env.exists(path)) {  // by a run that lives
      std::printf("%s: deleted meanwhile\n", path.c_str());
      continue;
    }
    if (!verdict.problems.empty() && path != named && is_unfinished(path, env)) {
      std::printf("%s: left out, since it is being uploaded or deleted\n", path.c_str());
      continue;
    }
    sound = sound.value_or(true) && verdict.problems.empty();
    std::printf("%s: %s\n", path.c_str(), verdict.state);
    for (const std::string& problem : verdict.problems) std::printf("  %s\n", problem.c_str());
  }
  return sound;
}

}  // namespace

int verify_in(Env& env, const Words& words) {
  const ParsedWords parsed = take_words(words, "verify", {}, 1, 1);
  const std::string& operand = parsed.operands[0];
  std::vector<std::filesystem::path> before;
  for (int looks = 1; looks <= kMostChoices; ++looks) {
    const std::vector<std::filesystem::path> paths = checkpoints_at(operand, "verify", env);
    if (paths == before) break;
    if (const auto sound = all_sound(paths, operand, env))
      return static_cast<int>(*sound ? ExitCode::kSuccess : ExitCode::kCheckpointError);
    if (paths.front() == operand) break;
    before = paths;
  }
  throw CheckpointError(
      "muster verify: expected a whole checkpoint that stays, found that all in " + operand +
      " are being uploaded or were deleted meanwhile; verify again");
}

int verify_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(verify_command_help().c_str(), stdout);
    return 0;
  }
  leave_stores_to_sibling("verify", words);
  return verify_in(*make_system_env(), words);
}

std::string verify_command_help() {
  return "usage: muster verify DIR\n"
         "Checks every byte against its checksum and lists each problem. DIR is a checkpoint, or a "
         "directory\n"
         "of them: then all, but for those that a run uploads or deletes meanwhile. Leaves with 0 "
         "when all is sound,\n"
         "and with 74 when something is damaged, or unreadable (no answer: it may be sound).\n";
}

}  // namespace muster::launcher
