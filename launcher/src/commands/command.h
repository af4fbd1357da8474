// The commands of `muster`, one file each.
#ifndef MUSTER_LAUNCHER_COMMANDS_COMMAND_H_
#define MUSTER_LAUNCHER_COMMANDS_COMMAND_H_

#include <span>
#include <string>
#include <vector>

namespace muster::launcher {

using Words = std::vector<std::string>;

/// `run` gets the words after the command's name and returns the exit code; it throws muster::Error
/// for everything that one message and a documented exit code can say.
struct Command {
  const char* name;
  const char* summary;  ///< One line of `muster --help`.
  int (*run)(const Words& words);
  std::string (*help)();
};

/// Every command, in the order of the help text.
std::span<const Command> all_commands();

int run_command(const Words& words);
std::string run_command_help();
int inspect_command(const Words& words);
std::string inspect_command_help();
int verify_command(const Words& words);
std::string verify_command_help();
int diff_command(const Words& words);
std::string diff_command_help();
int checkpoints_command(const Words& words);
std::string checkpoints_command_help();
int prune_command(const Words& words);
std::string prune_command_help();
int export_command(const Words& words);
std::string export_command_help();
int import_command(const Words& words);
std::string import_command_help();
int copy_command(const Words& words);
std::string copy_command_help();
int model_command(const Words& words);
std::string model_command_help();
int plan_command(const Words& words);
std::string plan_command_help();
int flight_command(const Words& words);
std::string flight_command_help();
int doctor_command(const Words& words);
std::string doctor_command_help();
int version_command(const Words& words);
std::string version_command_help();
int help_command(const Words& words);
std::string help_command_help();

/// What `muster ARGUMENTS` does: finds the command and runs it. Errors are printed on standard
/// error; returns the exit code.
int run_muster(const Words& arguments);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_COMMAND_H_
