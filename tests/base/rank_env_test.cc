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
          {"MUSTER_RUN_ID", "run-3"}};
}

TEST(RankEnv, NothingSetIsAWorldOfOne) {
  const RankEnv env = read({});
  EXPECT_EQ(env.launched_by, LaunchedBy::kNobody);
  EXPECT_EQ(env.rank, 0);
  EXPECT_EQ(env.world_size, 1);
  EXPECT_EQ(env.node_memory_fd, -1);
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
  EXPECT_EQ(env.control_fd, 9);
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
      if (name == "MUSTER_RUN_ID") continue;
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
