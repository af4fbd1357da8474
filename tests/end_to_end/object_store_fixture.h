// What tests of commands with an object store begin with.
#ifndef MUSTER_TESTS_END_TO_END_OBJECT_STORE_FIXTURE_H_
#define MUSTER_TESTS_END_TO_END_OBJECT_STORE_FIXTURE_H_

#include <gtest/gtest.h>

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "object_store_server.h"
#include "subprocess.h"

namespace muster::testing {

inline constexpr const char* kBucket = "s3://muster-test";

class ObjectStore : public ::testing::Test {
 protected:
  void SetUp() override;

  /// The program `muster`.
  std::unique_ptr<Program> start(std::vector<std::string> words);
  ProgramResult run(std::vector<std::string> words) { return start(std::move(words))->wait(); }

  /// A checkpoint of two ranks in `directory`; its path.
  std::filesystem::path save(const std::filesystem::path& directory, std::int64_t step,
                             std::size_t elements);
  /// Its state hash.
  std::string hash(const std::filesystem::path& path);

  const std::unique_ptr<Env> env_ = make_system_env();
  ScratchDirectory scratch_;
  std::unique_ptr<ObjectStoreServer> server_;
  std::map<std::string, std::string> environment_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_OBJECT_STORE_FIXTURE_H_
