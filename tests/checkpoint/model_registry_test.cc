// The registry: what it keeps, many writers at once, deaths, power cuts and damage.
#include "muster/checkpoint/model_registry.h"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <functional>
#include <set>

#include "checkpoint/memory_env.h"
#include "checkpoint/sample_state.h"
#include "numbered_claims.h"

namespace muster::checkpoint {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

class ModelRegistryTest : public ::testing::Test {
 protected:
  ModelRegistryTest() : registry_("/registry", env_) {}

  Checkpoint trained(std::int64_t step, std::uint64_t seed = 1) {
    CheckpointStore store("/run", env_);
    store.prepare();
    return Checkpoint::open(save(store, sample_state(seed), step, 2), env_);
  }

  MemoryEnv env_;
  ModelRegistry registry_;
};

TEST_F(ModelRegistryTest, KeepsVersionsWithWhereTheyComeFrom) {
  const Checkpoint first = trained(10);
  const ModelVersion added = registry_.add(
      first, env_, "digits", {.run = "run-3", .parent = "", .metrics = {{"accuracy", 0.25}}});
  EXPECT_EQ(added.version, 1);
  registry_.add(trained(20, 2), env_, "digits",
                {.run = "run-4", .parent = "digits@1", .metrics = {}});
  registry_.add(trained(20, 2), env_, "other", {});
  EXPECT_THAT(registry_.names(), ElementsAre("digits", "other"));
  const std::vector<ModelVersion> versions = registry_.versions("digits");
  ASSERT_EQ(versions.size(), 2u);
  EXPECT_EQ(versions[0].digest, first.state_hash());
  EXPECT_EQ(versions[0].step, 10);
  EXPECT_EQ(versions[0].registration.run, "run-3");
  EXPECT_EQ(versions[0].registration.metrics.at("accuracy"), 0.25);
  EXPECT_EQ(versions[0].registered_at, "1970-01-01T00:00:00Z");
  EXPECT_EQ(versions[1].version, 2);
  EXPECT_EQ(versions[1].registration.parent, "digits@1");
  EXPECT_EQ(registry_.get("digits").version, 2);
  EXPECT_EQ(registry_.get("digits", "1").version, 1);
  // It is a copy: the run may be deleted.
  env_.remove_all("/run");
  const Checkpoint copy = Checkpoint::open(versions[0].checkpoint(), env_);
  EXPECT_TRUE(copy.verify().empty());
  EXPECT_EQ(first_difference(copy, sample_state(1)), "");
}

TEST_F(ModelRegistryTest, StagesPointAtOneVersionEach) {
  for (int i = 0; i < 3; ++i) registry_.add(trained(1), env_, "m", {});
  registry_.promote("m", 2, "production");
  registry_.promote("m", 2, "staging");
  registry_.promote("m", 3, "staging");
  EXPECT_EQ(registry_.get("m", "production").version, 2);
  EXPECT_EQ(registry_.get("m", "staging").version, 3);
  EXPECT_THAT(registry_.get("m", "2").stages, ElementsAre("production"));
  registry_.promote("m", 1, "production");
  EXPECT_EQ(registry_.get("m", "production").version, 1);
  EXPECT_THAT(registry_.get("m", "2").stages, IsEmpty());
}

TEST_F(ModelRegistryTest, WhatIsNotThereOrNoNameIsTheCallersError) {
  EXPECT_THAT(registry_.names(), IsEmpty());
  EXPECT_THROW(registry_.get("m"), ConfigError);
  registry_.add(trained(1), env_, "m", {});
  EXPECT_THROW(registry_.get("m", "2"), ConfigError);
  EXPECT_THROW(registry_.get("m", "production"), ConfigError);
  EXPECT_THROW(registry_.promote("m", 2, "production"), ConfigError);
  EXPECT_THROW(registry_.promote("m", 1, "7"), ConfigError);
  for (const char* name : {"", ".", "../m", "a/b", ".hidden", "a b", "\xc3\xa9"}) {
    EXPECT_THROW(registry_.add(trained(1), env_, name, {}), ConfigError) << name;
    EXPECT_THROW(registry_.promote("m", 1, name), ConfigError) << name;
    EXPECT_THROW(registry_.versions(name), ConfigError) << name;
  }
  EXPECT_THROW(registry_.add(trained(1), env_, "m",
                             {.run = {}, .parent = {}, .metrics = {{"x", 1.0 / 0.0}}}),
               ConfigError);
  EXPECT_THROW(registry_.add(trained(1), env_, "m", {.run = "\xff", .parent = {}, .metrics = {}}),
               ConfigError);
  EXPECT_EQ(registry_.versions("m").size(), 1u);
}

TEST_F(ModelRegistryTest, ADamagedCheckpointIsNotRegistered) {
  const Checkpoint checkpoint = trained(1);
  env_.content("/run/step-00000001/rank-00001-of-00002.h5")[3000] ^= 4;
  EXPECT_THAT(message_of([&] { registry_.add(checkpoint, env_, "m", {}); }),
              HasSubstr("rank-00001-of-00002.h5"));
  EXPECT_THAT(registry_.names(), IsEmpty());
  EXPECT_THAT(env_.list_directory("/registry/incoming"), IsEmpty());
}

TEST_F(ModelRegistryTest, AChangedOrForeignRecordIsNamed) {
  const ModelVersion version = registry_.add(trained(1), env_, "m", {});
  const std::string path = (version.directory / "version.json").string();
  const std::string good = env_.content(path);
  for (std::size_t at = 0; at < good.size(); at += 3) {
    env_.content(path) = good;
    env_.content(path)[at] ^= 1;
    EXPECT_THAT(message_of([&] { registry_.versions("m"); }), HasSubstr(path)) << at;
  }
  env_.content(path) = good;
  env_.create_directories("/registry/models/n/versions");
  env_.rename(version.directory, "/registry/models/n/versions/v00000001");
  EXPECT_THAT(message_of([&] { registry_.versions("n"); }), HasSubstr("a directory was moved"));
}

TEST_F(ModelRegistryTest, AFailureOrPowerCutAnywhereLeavesTheVersionsBefore) {
  const Checkpoint checkpoint = trained(1);
  for (const Failure failure : {Failure::kOnce, Failure::kDeath}) {
    bool added = false;
    for (std::int64_t k = 0; !added; ++k) {
      env_.remove_all("/registry");
      registry_.add(checkpoint, env_, "m", {});
      env_.fail_at(k, failure, EIO);
      added = message_of([&] { registry_.add(checkpoint, env_, "m", {}); }) == "no error";
      env_.stop_failing();
      env_.lose_power();
      const std::size_t versions = registry_.versions("m").size();
      EXPECT_GE(versions, added ? 2u : 1u) << k;
      for (const ModelVersion& version : registry_.versions("m")) {
        EXPECT_TRUE(Checkpoint::open(version.checkpoint(), env_).verify().empty()) << k;
      }
      EXPECT_EQ(registry_.add(checkpoint, env_, "m", {}).version, static_cast<int>(versions) + 1);
      ASSERT_LT(k, 500);
    }
  }
}

// --- Several processes on the real file system.

constexpr int kDeadlineMs = 30'000;

/// Children that die with the test, and are waited for.
class Children {
 public:
  ~Children() {
    for (const pid_t pid : pids_) kill(pid, SIGKILL);
    wait();
  }
  /// Runs `action` in a child; an exception or false is exit code 1.
  pid_t start(const std::function<bool()>& action) {
    const pid_t pid = fork();
    if (pid != 0) {
      pids_.push_back(pid);
      return pid;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    alarm(kDeadlineMs / 1000);
    bool done = false;
    try {
      done = action();
    } catch (const std::exception& e) {
      std::fprintf(stderr, "child: %s\n", e.what());
    }
    _exit(done ? 0 : 1);
  }
  /// How many ended with 0.
  int wait() {
    int succeeded = 0;
    for (const pid_t pid : pids_) {
      int status = 0;
      waitpid(pid, &status, 0);
      succeeded += WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 1 : 0;
    }
    pids_.clear();
    return succeeded;
  }

 private:
  std::vector<pid_t> pids_;
};

class SharedRegistryTest : public ::testing::Test {
 protected:
  SharedRegistryTest() : env_(make_system_env()), registry_(temporary_.path() / "registry", *env_) {
    CheckpointStore store(temporary_.path() / "run", *env_);
    store.prepare();
    checkpoint_ = save(store, tiny_state(1), 1);
  }

  ModelVersion add(const std::string& run) const {
    return registry_.add(Checkpoint::open(checkpoint_, *env_), *env_, "m",
                         {.run = run, .parent = {}, .metrics = {}});
  }

  TemporaryDirectory temporary_;
  std::unique_ptr<Env> env_;
  ModelRegistry registry_;
  std::filesystem::path checkpoint_;
};

TEST_F(SharedRegistryTest, ProcessesThatRegisterAtOnceEachGetTheirNumbers) {
  constexpr int kProcesses = 6, kEach = 5;
  Children children;
  for (int p = 0; p < kProcesses; ++p) {
    children.start([&, p] {
      for (int i = 0; i < kEach; ++i) {
        const ModelVersion version = add(std::to_string(p) + "." + std::to_string(i));
        registry_.promote("m", version.version, "staging");
        // A reader meanwhile sees whole versions only.
        if (registry_.get("m", "staging").digest != version.digest) return false;
      }
      return true;
    });
  }
  EXPECT_EQ(children.wait(), kProcesses);
  const std::vector<ModelVersion> versions = registry_.versions("m");
  ASSERT_EQ(versions.size(), static_cast<std::size_t>(kProcesses * kEach));
  std::set<std::string> runs;
  for (std::size_t i = 0; i < versions.size(); ++i) {
    EXPECT_EQ(versions[i].version, static_cast<int>(i) + 1);
    runs.insert(versions[i].registration.run);
  }
  EXPECT_EQ(runs.size(), versions.size()) << "nobody's version was replaced";
  EXPECT_THAT(env_->list_directory(registry_.directory() / "incoming"), IsEmpty());
}

TEST_F(SharedRegistryTest, KilledWritersLeaveWholeVersionsAndNoGap) {
  constexpr int kVictims = 12;
  Children children;
  int acknowledged[2];
  ASSERT_EQ(pipe2(acknowledged, O_CLOEXEC), 0);
  const pid_t survivor = children.start([&] {
    for (int i = 0; i < 20; ++i) add("survivor");
    return true;
  });
  ASSERT_GT(survivor, 0);
  int heard = 0;
  for (int v = 0; v < kVictims; ++v) {
    const pid_t victim = children.start([&] {
      for (int i = 0;; ++i) {
        add("victim");
        if (write(acknowledged[1], "a", 1) != 1) return false;
      }
    });
    // Killed somewhere in the version after one that it was told is safe: the next, mostly.
    pollfd readable{acknowledged[0], POLLIN, 0};
    ASSERT_EQ(poll(&readable, 1, kDeadlineMs), 1);
    char byte;
    ASSERT_EQ(read(acknowledged[0], &byte, 1), 1);
    ++heard;
    kill(victim, SIGKILL);
  }
  EXPECT_EQ(children.wait(), 1) << "the survivor";
  close(acknowledged[1]);
  char more[64];
  for (ssize_t got; (got = read(acknowledged[0], more, sizeof(more))) > 0;) {
    heard += static_cast<int>(got);
  }
  close(acknowledged[0]);
  const std::vector<ModelVersion> versions = registry_.versions("m");
  for (std::size_t i = 0; i < versions.size(); ++i) {
    EXPECT_EQ(versions[i].version, static_cast<int>(i) + 1);
    EXPECT_TRUE(Checkpoint::open(versions[i].checkpoint(), *env_).verify().empty());
  }
  const auto of = [&](const std::string& run) {
    return std::count_if(versions.begin(), versions.end(),
                         [&](const ModelVersion& one) { return one.registration.run == run; });
  };
  EXPECT_EQ(of("survivor"), 20);
  EXPECT_GE(of("victim"), heard) << "what was acknowledged is there";
  add("after");
  EXPECT_THAT(env_->list_directory(registry_.directory() / "incoming"), IsEmpty())
      << "what the dead left is swept";
}

}  // namespace
}  // namespace muster::checkpoint
