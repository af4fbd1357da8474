// Who am I: the environment of muster run, of mpirun, of a shell, and of a confused user.
#include "muster/base/rank_env.h"

#include <gtest/gtest.h>

#include <map>
#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster {
namespace {

using Variables = std::map<std::string, std::string>;

RankEnv read(const Variables& variables) {
  return RankEnv::from_environment([&](const std::string& name) -> std::optional<std::string> {
    const auto it = variables.find(name);
    if (it == variables.end()) return std::nullopt;
    return it->second;
  });
}

std::string config_error(const Variables& variables) {
  try {
    read(variables);
  } catch (const ConfigError& e) {
    return e.what();
  }
  return "";
}

Variables muster_variables() {
  return {{"MUSTER_RANK", "5"},           {"MUSTER_WORLD_SIZE", "8"},
          {"MUSTER_LOCAL_RANK", "1"},     {"MUSTER_LOCAL_WORLD_SIZE", "4"},
          {"MUSTER_NODE_RANK", "1"},      {"MUSTER_GENERATION", "2"},
          {"MUSTER_NODE_MEMORY_FD", "7"}, {"MUSTER_CONTROL_FD", "9"},
          {"MUSTER_SNAPSHOT_FD", "11"},   {"MUSTER_REPLACEMENT", "1"},
          {"MUSTER_RUN_ID", "run-3"},     {"MUSTER_FLIGHT_DIR", "/logs/flight"}};
}

TEST(RankEnv, NothingSetIsAWorldOfOne) {
  const RankEnv env = read({});
  EXPECT_EQ(env.launched_by, LaunchedBy::kNobody);
  EXPECT_EQ(env.rank, 0);
  EXPECT_EQ(env.world_size, 1);
  EXPECT_EQ(env.node_memory_fd, -1);
  EXPECT_FALSE(env.replaces_lost_rank);
  EXPECT_EQ(env.control_fd, -1);
  EXPECT_EQ(env.description(), "rank 0/1 gen 0");
}

TEST(RankEnv, ReadsMuster) {
  const RankEnv env = read(muster_variables());
  EXPECT_EQ(env.launched_by, LaunchedBy::kMuster);
  EXPECT_EQ(env.rank, 5);
  EXPECT_EQ(env.world_size, 8);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 4);
  EXPECT_EQ(env.node_rank, 1);
  EXPECT_EQ(env.generation, 2);
  EXPECT_EQ(env.node_memory_fd, 7);
  EXPECT_TRUE(env.replaces_lost_rank);
  EXPECT_EQ(env.control_fd, 9);
  EXPECT_EQ(env.snapshot_fd, 11);
  EXPECT_EQ(env.run_id, "run-3");
  EXPECT_EQ(env.description(), "rank 5/8 gen 2");
}

TEST(RankEnv, RoundTripsThroughToEnvironment) {
  Variables written;
  for (const auto& [name, value] : read(muster_variables()).to_environment()) written[name] = value;
  EXPECT_EQ(written, muster_variables());
}

TEST(RankEnv, ReadsOpenMpi) {
  const RankEnv env = read({{"OMPI_COMM_WORLD_RANK", "3"},
                            {"OMPI_COMM_WORLD_SIZE", "4"},
                            {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
                            {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}});
  EXPECT_EQ(env.launched_by, LaunchedBy::kMpi);
  EXPECT_EQ(env.rank, 3);
  EXPECT_EQ(env.world_size, 4);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 2);
}

TEST(RankEnv, MusterWinsOverTheMpiRunThatStartedTheLauncher) {
  Variables variables = muster_variables();
  variables["OMPI_COMM_WORLD_RANK"] = "0";
  variables["OMPI_COMM_WORLD_SIZE"] = "1";
  EXPECT_EQ(read(variables).launched_by, LaunchedBy::kMuster);
}

// As Slurm sets them for task 5 of a step on four nodes with 2, 2, 2 and 1 tasks.
Variables slurm_step_variables() {
  return {{"SLURM_JOB_ID", "71"},
          {"SLURM_NTASKS", "7"},
          {"SLURM_STEP_ID", "0"},
          {"SLURM_STEP_NUM_TASKS", "7"},
          {"SLURM_STEP_NUM_NODES", "4"},
          {"SLURM_STEP_TASKS_PER_NODE", "2(x3),1"},
          {"SLURM_PROCID", "5"},
          {"SLURM_LOCALID", "1"},
          {"SLURM_NODEID", "2"},
          {"PMIX_RANK", "5"},
          {"PMIX_NAMESPACE", "slurm.pmix"},
          {"SLURM_MPI_TYPE", "pmix"}};
}

TEST(RankEnv, ReadsASlurmStepThatHasPmix) {
  const RankEnv env = read(slurm_step_variables());
  EXPECT_EQ(env.launched_by, LaunchedBy::kMpi);
  EXPECT_EQ(env.rank, 5);
  EXPECT_EQ(env.world_size, 7);
  EXPECT_EQ(env.local_rank, 1);
  EXPECT_EQ(env.local_world_size, 2);
  EXPECT_EQ(env.node_rank, 2);
}

TEST(RankEnv, CountsTheTasksOfEachNodeOfASlurmStep) {
  const std::vector<std::pair<std::string, std::vector<int>>> cases = {
      {"4", {4}}, {"2(x3),1", {2, 2, 2, 1}}, {"1,2(x2),3", {1, 2, 2, 3}}};
  for (const auto& [text, counts] : cases) {
    Variables variables = slurm_step_variables();
    variables["SLURM_STEP_TASKS_PER_NODE"] = text;
    variables["SLURM_LOCALID"] = "0";
    for (std::size_t node = 0; node < counts.size(); ++node) {
      variables["SLURM_NODEID"] = std::to_string(node);
      EXPECT_EQ(read(variables).local_world_size, counts[node]) << text << " node " << node;
    }
    variables["SLURM_NODEID"] = std::to_string(counts.size());
    EXPECT_NE(config_error(variables).find("'" + text + "'"), std::string::npos);
  }
  for (const char* text : {"", "x", "2(x", "2(x3", "2(y3)", "2 ,1", ",", "2(x2)1", "(x2)"}) {
    Variables variables = slurm_step_variables();
    variables["SLURM_STEP_TASKS_PER_NODE"] = text;
    EXPECT_NE(config_error(variables).find("SLURM_STEP_TASKS_PER_NODE"), std::string::npos) << text;
  }
}

TEST(RankEnv, TasksOfSrunThatCannotFindEachOtherAreNoWorldsOfOne) {
  Variables variables = slurm_step_variables();
  variables.erase("PMIX_RANK");
  const std::string message = config_error(variables);
  for (const char* part : {"7 tasks", "srun --mpi=pmix", "muster run"}) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
  }
}

TEST(RankEnv, ABatchScriptAndAStepOfOneTaskAreWorldsOfOne) {
  Variables script = slurm_step_variables();
  for (const char* name :
       {"SLURM_STEP_NUM_TASKS", "SLURM_STEP_NUM_NODES", "SLURM_STEP_TASKS_PER_NODE", "PMIX_RANK"}) {
    script.erase(name);
  }
  EXPECT_EQ(read(script).launched_by, LaunchedBy::kNobody);
  EXPECT_EQ(read(script).world_size, 1);
  script["SLURM_STEP_NUM_TASKS"] = "1";
  EXPECT_EQ(read(script).world_size, 1);
}

TEST(RankEnv, LaunchersInsideASlurmStepWin) {
  Variables variables = slurm_step_variables();
  variables.erase("PMIX_RANK");
  Variables muster = variables;
  for (const auto& [name, value] : muster_variables()) muster[name] = value;
  EXPECT_EQ(read(muster).world_size, 8);
  variables["OMPI_COMM_WORLD_RANK"] = "2";
  variables["OMPI_COMM_WORLD_SIZE"] = "3";
  EXPECT_EQ(read(variables).world_size, 3);
}

TEST(RankEnv, HalfAnIdentityIsNeverAWorldOfOne) {
  const std::vector<std::pair<std::string, std::string>> pairs = {
      {"MUSTER_RANK", "MUSTER_WORLD_SIZE"}, {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"}};
  for (const auto& [rank, size] : pairs) {
    EXPECT_NE(config_error({{rank, "0"}}).find(size), std::string::npos);
    EXPECT_NE(config_error({{size, "4"}}).find(rank), std::string::npos);
  }
}

TEST(RankEnv, MalformedNumbersNameTheVariableAndTheText) {
  for (const char* text : {"", "x", "1x", " 1", "1.0", "99999999999"}) {
    for (const auto& [name, value] : muster_variables()) {
      if (name == "MUSTER_RUN_ID" || name == "MUSTER_FLIGHT_DIR") continue;
      Variables variables = muster_variables();
      variables[name] = text;
      const std::string message = config_error(variables);
      EXPECT_NE(message.find(name), std::string::npos) << name << "='" << text << "': " << message;
      EXPECT_NE(message.find("'" + std::string(text) + "'"), std::string::npos) << message;
    }
  }
}

TEST(RankEnv, ContradictionsAreConfigErrors) {
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"MUSTER_RANK", "8"},       {"MUSTER_RANK", "-1"},       {"MUSTER_WORLD_SIZE", "0"},
      {"MUSTER_LOCAL_RANK", "4"}, {"MUSTER_LOCAL_RANK", "-1"}, {"MUSTER_LOCAL_WORLD_SIZE", "9"},
      {"MUSTER_NODE_RANK", "-1"}, {"MUSTER_GENERATION", "-1"}, {"MUSTER_LOCAL_WORLD_SIZE", "0"}};
  for (const auto& [name, value] : changes) {
    Variables variables = muster_variables();
    variables[name] = value;
    EXPECT_NE(config_error(variables), "") << name << "=" << value;
  }
}

}  // namespace
}  // namespace muster
