// The registry where nothing can be renamed: deaths, lost answers, stores that replace.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cerrno>

#include "checkpoint/memory_env.h"
#include "checkpoint/sample_state.h"
#include "muster/checkpoint/model_registry.h"
#include "numbered_claims.h"
#include "registry_records.h"

namespace muster::checkpoint {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

/// As an object store is: no renames, directories need no creating.
class ObjectEnv : public MemoryEnv {
 public:
  std::unique_ptr<WritableFile> create_file(const fs::path& path) override {
    MemoryEnv::create_directories(path.parent_path());
    return MemoryEnv::create_file(path);
  }
  void create_directories(const fs::path&) override {}
  void sync_directory(const fs::path&) override {}
  void rename(const fs::path& from, const fs::path&) override {
    throw FileError("rename", from, ENOTSUP);
  }
  std::vector<std::string> list_directory(const fs::path& path) override {
    std::vector<std::string> names = MemoryEnv::list_directory(path);
    std::erase_if(names, [&](const std::string& name) { return is_empty_directory(path / name); });
    return names;
  }
  /// At once, or not at all; but the answer may be lost.
  bool create_once(const fs::path& path, const std::string& text) {
    if (knows_conditions && exists(path)) return false;
    const fs::path request = "/request";
    const auto file = MemoryEnv::create_file(request);
    file->write_at(0, text.data(), text.size());
    file->close();
    MemoryEnv::create_directories(path.parent_path());
    MemoryEnv::rename(request, path);
    count_call("answer", path);
    return true;
  }
  bool knows_conditions = true;

 private:
  bool is_empty_directory(const fs::path& path) {
    try {
      return MemoryEnv::list_directory(path).empty();
    } catch (const FileError& error) {
      if (error.errno_value() == ENOTDIR) return false;
      throw;
    }
  }
};

class StoreRegistryTest : public ::testing::Test {
 protected:
  StoreRegistryTest()
      : registry_("s3:/b/models/", env_, [this](const fs::path& path, const std::string& text) {
          return env_.create_once(path, text);
        }) {
    CheckpointStore store("/run", disk_);
    store.prepare();
    checkpoint_ = save(store, tiny_state(1), 4, 2);
  }

  ModelVersion add() { return registry_.add(Checkpoint::open(checkpoint_, disk_), disk_, "m", {}); }
  fs::path uploads() const { return registry_.directory() / "models/m/uploads"; }

  MemoryEnv disk_;
  ObjectEnv env_;
  ModelRegistry registry_;
  fs::path checkpoint_;
};

TEST_F(StoreRegistryTest, KeepsVersionsAndStagesWithoutARename) {
  EXPECT_THAT(registry_.names(), IsEmpty());
  const ModelVersion first = add();
  EXPECT_EQ(first.directory, "s3:/b/models/models/m/versions/v00000001");
  EXPECT_EQ(first.checkpoint(), uploads() / first.upload);
  EXPECT_EQ(add().version, 2);
  registry_.promote("m", 1, "production");
  registry_.promote("m", 2, "production");
  EXPECT_THAT(registry_.names(), ElementsAre("m"));
  EXPECT_EQ(registry_.get("m", "production").version, 2);
  const ModelVersion read = registry_.get("m", "1");
  EXPECT_EQ(read.checkpoint(), first.checkpoint());
  EXPECT_EQ(read.digest, Checkpoint::open(read.checkpoint(), env_).state_hash());
}

TEST_F(StoreRegistryTest, AFailureOrDeathAnywhereLeavesWholeVersionsAndNoGap) {
  for (const Failure failure : {Failure::kOnce, Failure::kDeath}) {
    bool added = false;
    for (std::int64_t k = 0; !added; ++k) {
      env_.remove_all("s3:/b");
      add();
      env_.fail_at(k, failure, EHOSTUNREACH);
      added = message_of([&] { add(); }) == "no error";
      env_.stop_failing();
      const auto versions = registry_.versions("m");
      EXPECT_GE(versions.size(), added ? 2u : 1u) << k;
      for (const ModelVersion& version : versions)
        EXPECT_TRUE(Checkpoint::open(version.checkpoint(), env_).verify().empty()) << k;
      EXPECT_EQ(add().version, static_cast<int>(versions.size()) + 1);
      ASSERT_LT(k, 500);
    }
  }
}

TEST_F(StoreRegistryTest, WhatDeadProcessesUploadedGoesAndVersionsStay) {
  const std::string own = internal::owned_name();
  const std::string pid = own.substr(0, own.find('_'));
  const std::string rest = own.substr(own.find('_', pid.size() + 1));
  // Processes of the same id, long ago: one ended before its version was one, one after it.
  const std::string killed = pid + "_1" + rest, ended = pid + "_2" + rest;
  const std::string foreign = pid + "_1_1_of-another-machine_0";
  for (const std::string& name : {own, killed, foreign})
    env_.create_file(uploads() / name / "rank-00000-of-00001.h5")->close();
  ModelVersion version = add();
  EXPECT_THAT(env_.list_directory(uploads()), UnorderedElementsAre(own, foreign, version.upload));

  env_.MemoryEnv::rename(version.checkpoint(), uploads() / ended);
  version.upload = ended;
  env_.content(version.directory / "version.json") = internal::version_text(version);
  env_.create_file(uploads() / killed / "rank-00000-of-00001.h5")->close();
  const ModelVersion next = add();
  EXPECT_THAT(env_.list_directory(uploads()),
              UnorderedElementsAre(own, ended, foreign, next.upload));
}

TEST_F(StoreRegistryTest, AStoreThatReplacesIsRefused) {
  env_.knows_conditions = false;
  EXPECT_THAT(message_of([&] { add(); }), HasSubstr("refuse to replace an object"));
  EXPECT_THAT(registry_.names(), IsEmpty());
  EXPECT_FALSE(env_.exists(uploads()));
}

TEST_F(StoreRegistryTest, ADamagedRecordAndOneThatNamesAnotherPlaceAreNamed) {
  ModelVersion version = add();
  const fs::path path = version.directory / "version.json";
  const std::string good = env_.content(path);
  for (std::size_t at = 0; at < good.size(); at += 7) {
    env_.content(path)[at] ^= 1;
    EXPECT_THAT(message_of([&] { registry_.versions("m"); }), HasSubstr(path.string())) << at;
    env_.content(path) = good;
  }
  for (const char* name : {"../../n/uploads/x", "..", "/run", "a/b", "."}) {
    version.upload = name;
    env_.content(path) = internal::version_text(version);
    EXPECT_THAT(message_of([&] { registry_.versions("m"); }),
                AllOf(HasSubstr(path.string()), HasSubstr("upload")));
  }
}

}  // namespace
}  // namespace muster::checkpoint
