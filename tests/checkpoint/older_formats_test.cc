// What earlier versions wrote is read for good.
#include <gtest/gtest.h>

#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {
namespace {

TEST(OlderFormats, Version1) {
  const auto env = make_system_env();
  const Checkpoint checkpoint =
      Checkpoint::open(std::filesystem::path(MUSTER_TEST_DIR) / "golden" / "format-1", *env);
  EXPECT_EQ(checkpoint.manifest().step, 10);
  EXPECT_EQ(checkpoint.manifest().world_size, 2);
  EXPECT_EQ(checkpoint.manifest().files.size(), 2u);  // there was no model.h5
  EXPECT_TRUE(checkpoint.verify().empty());
  EXPECT_EQ(checkpoint.state_hash(), "489f736c9374be6cc091c7e94b34d4c2");
  std::vector<float> bias(1);
  checkpoint.read(whole_tensor("model.head.bias", DType::kFloat32, {1}), bias.data());
  EXPECT_FLOAT_EQ(bias[0], 0.574297607F);
}

}  // namespace
}  // namespace muster::checkpoint
