// The table of commands and the way into them.
#include "commands/command.h"

#include <cstdio>
#include <exception>

#include "muster/base/error.h"
#include "muster/base/options.h"

namespace muster::launcher {
namespace {

constexpr Command kCommands[] = {
    {"run", "start a program on N ranks and keep it alive", run_command, run_command_help},
    {"inspect", "say what is in a checkpoint, and its state hash", inspect_command,
     inspect_command_help},
    {"verify", "check every byte of a checkpoint against its checksums", verify_command,
     verify_command_help},
    {"diff", "compare two checkpoints bit by bit", diff_command, diff_command_help},
    {"checkpoints", "list the checkpoints of a run", checkpoints_command, checkpoints_command_help},
    {"prune", "delete the checkpoints of a run that no rule keeps", prune_command,
     prune_command_help},
    {"export", "write a checkpoint's model as a safetensors or HDF5 file", export_command,
     export_command_help},
    {"import", "make a checkpoint from a safetensors file", import_command, import_command_help},
    {"copy", "copy a checkpoint to an object store, or back", copy_command, copy_command_help},
    {"model", "keep models under names and numbers, with where they come from", model_command,
     model_command_help},
    {"flight", "say in which operation a job hangs or died, and who was missing", flight_command,
     flight_command_help},
    {"plan", "say how much memory a program needs at each world size and ZeRO stage", plan_command,
     plan_command_help},
    {"doctor", "look at this machine, measure it, and say what is wrong", doctor_command,
     doctor_command_help},
    {"version", "print the version", version_command, version_command_help},
    {"help", "explain a command", help_command, help_command_help},
};

int dispatch(const Words& arguments) {
  if (arguments.empty()) {
    std::fputs(help_command_help().c_str(), stderr);
    return static_cast<int>(ExitCode::kConfigError);
  }
  std::string name = arguments.front();
  if (name == "--help" || name == "-h") name = "help";
  if (name == "--version") name = "version";
  std::vector<std::string> names;
  for (const Command& command : kCommands) {
    if (name == command.name) return command.run({arguments.begin() + 1, arguments.end()});
    names.emplace_back(command.name);
  }
  const std::string nearest = nearest_name(name, names);
  throw ConfigError(
      "muster: expected a command, found '" + name + "'; " +
      (nearest.empty() ? "see muster --help" : "did you mean muster " + nearest + "?"));
}

}  // namespace

std::span<const Command> all_commands() { return kCommands; }

int run_muster(const Words& arguments) {
  try {
    return dispatch(arguments);
  } catch (const Error& e) {
    std::fprintf(stderr, "%s: %s\n", e.kind(), e.what());
    return static_cast<int>(e.exit_code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "InternalError: %s\n", e.what());
    return static_cast<int>(ExitCode::kInternalError);
  }
}

}  // namespace muster::launcher
