// What earlier versions wrote is read for good, and what this one writes from now on.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {
namespace {

/// Every byte of the checkpoint of `version` is sound, and says what was stored.
void expect_read(int version, std::size_t files, const std::string& state_hash) {
  const auto env = make_system_env();
  const Checkpoint checkpoint = Checkpoint::open(
      std::filesystem::path(MUSTER_TEST_DIR) / "golden" / ("format-" + std::to_string(version)),
      *env);
  EXPECT_EQ(checkpoint.manifest().step, 10);
  EXPECT_EQ(checkpoint.manifest().world_size, 2);
  EXPECT_EQ(checkpoint.manifest().files.size(), files);
  EXPECT_TRUE(checkpoint.verify().empty());
  EXPECT_EQ(checkpoint.state_hash(), state_hash);
  std::vector<float> bias(1);
  checkpoint.read(whole_tensor("model.head.bias", DType::kFloat32, {1}), bias.data());
  EXPECT_FLOAT_EQ(bias[0], 0.574297607F);
}

TEST(OlderFormats, Version1) {
  expect_read(1, /*files=*/2, "489f736c9374be6cc091c7e94b34d4c2");  // there was no model.h5
}

TEST(OlderFormats, Version2) { expect_read(2, /*files=*/3, "88f458c74c25c8e20ab37fd9d2989543"); }

}  // namespace
}  // namespace muster::checkpoint
