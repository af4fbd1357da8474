// Reading and writing the rank's environment variables.
#include "muster/base/rank_env.h"

#include <charconv>
#include <cstdlib>
#include <string_view>

#include "muster/base/error.h"

namespace muster {
namespace {

int parse_number(const std::string& name, const std::string& text) {
  int value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end) {
    throw ConfigError("environment variable " + name + ": expected a whole number, found '" + text +
                      "'; unset it, or start the program with muster run or mpirun");
  }
  return value;
}

int required_number(const RankEnv::Lookup& lookup, const std::string& name) {
  const auto text = lookup(name);
  if (text) return parse_number(name, *text);
  throw ConfigError("environment variable " + name +
                    ": expected a whole number, found it unset while others of its family are set; "
                    "unset those, or "
                    "start the program with muster run or mpirun");
}

int number_or(const RankEnv::Lookup& lookup, const std::string& name, int fallback) {
  const auto text = lookup(name);
  return text ? parse_number(name, *text) : fallback;
}

void check_consistent(const RankEnv& env) {
  const bool good =
      env.world_size >= 1 && env.rank >= 0 && env.rank < env.world_size &&
      env.local_world_size >= 1 && env.local_rank >= 0 && env.local_rank < env.local_world_size &&
      env.local_world_size <= env.world_size && env.node_rank >= 0 && env.generation >= 0;
  if (good) return;
  throw ConfigError(
      "environment: expected 0 <= rank < world size on the node and in the world, and no negative "
      "number, found rank " +
      std::to_string(env.rank) + " of " + std::to_string(env.world_size) + ", local rank " +
      std::to_string(env.local_rank) + " of " + std::to_string(env.local_world_size) + ", node " +
      std::to_string(env.node_rank) + ", generation " + std::to_string(env.generation) +
      "; unset MUSTER_* variables, or start the program with muster run or mpirun");
}

RankEnv from_muster(const RankEnv::Lookup& lookup) {
  RankEnv env;
  env.launched_by = LaunchedBy::kMuster;
  env.rank = required_number(lookup, "MUSTER_RANK");
  env.world_size = required_number(lookup, "MUSTER_WORLD_SIZE");
  env.local_rank = number_or(lookup, "MUSTER_LOCAL_RANK", env.rank);
  env.local_world_size = number_or(lookup, "MUSTER_LOCAL_WORLD_SIZE", env.world_size);
  env.node_rank = number_or(lookup, "MUSTER_NODE_RANK", 0);
  env.generation = number_or(lookup, "MUSTER_GENERATION", 0);
  env.node_memory_fd = number_or(lookup, "MUSTER_NODE_MEMORY_FD", -1);
  env.control_fd = number_or(lookup, "MUSTER_CONTROL_FD", -1);
  env.snapshot_fd = number_or(lookup, "MUSTER_SNAPSHOT_FD", -1);
  env.replaces_lost_rank = number_or(lookup, "MUSTER_REPLACEMENT", 0) != 0;
  env.run_id = lookup("MUSTER_RUN_ID").value_or("");
  return env;
}

RankEnv from_open_mpi(const RankEnv::Lookup& lookup) {
  RankEnv env;
  env.launched_by = LaunchedBy::kMpi;
  env.rank = required_number(lookup, "OMPI_COMM_WORLD_RANK");
  env.world_size = required_number(lookup, "OMPI_COMM_WORLD_SIZE");
  env.local_rank = number_or(lookup, "OMPI_COMM_WORLD_LOCAL_RANK", env.rank);
  env.local_world_size = number_or(lookup, "OMPI_COMM_WORLD_LOCAL_SIZE", env.world_size);
  env.run_id = lookup("PMIX_NAMESPACE").value_or("");
  return env;
}

[[noreturn]] void throw_bad_tasks_per_node(const std::string& text, int node) {
  throw ConfigError(
      "environment variable SLURM_STEP_TASKS_PER_NODE: expected Slurm's list of tasks, such as "
      "2(x3),1, with an entry for node " +
      std::to_string(node) + ", found '" + text + "'; start the program with srun, or unset it");
}

/// How many tasks of the step run on its node number `node`, from Slurm's "2(x3),1".
int tasks_on_node(const std::string& text, int node) {
  const char* next = text.data();
  const char* const end = text.data() + text.size();
  for (int first = 0; next < end;) {
    int tasks = 0;
    int nodes = 1;
    auto result = std::from_chars(next, end, tasks);
    if (result.ec != std::errc()) break;
    if (std::string_view(result.ptr, end).starts_with("(x")) {
      result = std::from_chars(result.ptr + 2, end, nodes);
      if (result.ec != std::errc() || result.ptr == end || *result.ptr++ != ')') break;
    }
    if (node < first + nodes) return tasks;
    first += nodes;
    if (result.ptr == end || *result.ptr != ',') break;
    next = result.ptr + 1;
  }
  throw_bad_tasks_per_node(text, node);
}

/// Ranks that srun started itself. Open MPI finds its world only through PMIx, which srun offers
/// with --mpi=pmix alone; without it each task would be a silent world of one.
RankEnv from_slurm_step(const RankEnv::Lookup& lookup, int tasks) {
  if (!lookup("PMIX_RANK")) {
    throw ConfigError(
        "environment: expected the " + std::to_string(tasks) +
        " tasks of this Slurm step (SLURM_STEP_NUM_TASKS) to find each other through PMIx, found "
        "no PMIX_RANK, so that each would train alone; start them with srun --mpi=pmix, or one "
        "task a job with srun --ntasks=1 muster run -n N -- PROGRAM (for tasks that have nothing "
        "to do with each other: srun muster run -n 1 -- PROGRAM)");
  }
  RankEnv env;
  env.launched_by = LaunchedBy::kMpi;
  env.rank = required_number(lookup, "SLURM_PROCID");
  env.world_size = tasks;
  env.local_rank = required_number(lookup, "SLURM_LOCALID");
  env.node_rank = required_number(lookup, "SLURM_NODEID");
  env.local_world_size =
      tasks_on_node(lookup("SLURM_STEP_TASKS_PER_NODE").value_or(""), env.node_rank);
  env.run_id = lookup("PMIX_NAMESPACE").value_or("");
  return env;
}

}  // namespace

RankEnv RankEnv::from_environment(const Lookup& lookup) {
  RankEnv env;
  if (lookup("MUSTER_RANK") || lookup("MUSTER_WORLD_SIZE")) {
    env = from_muster(lookup);
  } else if (lookup("OMPI_COMM_WORLD_RANK") || lookup("OMPI_COMM_WORLD_SIZE")) {
    env = from_open_mpi(lookup);
  } else if (const int tasks = number_or(lookup, "SLURM_STEP_NUM_TASKS", 1); tasks > 1) {
    env = from_slurm_step(lookup, tasks);
  }
  env.flight_directory = lookup("MUSTER_FLIGHT_DIR").value_or("");
  check_consistent(env);
  return env;
}

RankEnv RankEnv::from_environment() {
  return from_environment([](const std::string& name) -> std::optional<std::string> {
    const char* value = std::getenv(name.c_str());
    if (value == nullptr) return std::nullopt;
    return std::string(value);
  });
}

std::vector<std::pair<std::string, std::string>> RankEnv::to_environment() const {
  return {{"MUSTER_RANK", std::to_string(rank)},
          {"MUSTER_WORLD_SIZE", std::to_string(world_size)},
          {"MUSTER_LOCAL_RANK", std::to_string(local_rank)},
          {"MUSTER_LOCAL_WORLD_SIZE", std::to_string(local_world_size)},
          {"MUSTER_NODE_RANK", std::to_string(node_rank)},
          {"MUSTER_GENERATION", std::to_string(generation)},
          {"MUSTER_NODE_MEMORY_FD", std::to_string(node_memory_fd)},
          {"MUSTER_CONTROL_FD", std::to_string(control_fd)},
          {"MUSTER_SNAPSHOT_FD", std::to_string(snapshot_fd)},
          {"MUSTER_REPLACEMENT", std::to_string(replaces_lost_rank ? 1 : 0)},
          {"MUSTER_RUN_ID", run_id},
          {"MUSTER_FLIGHT_DIR", flight_directory}};
}

std::string RankEnv::description() const {
  return "rank " + std::to_string(rank) + "/" + std::to_string(world_size) + " gen " +
         std::to_string(generation);
}

}  // namespace muster
