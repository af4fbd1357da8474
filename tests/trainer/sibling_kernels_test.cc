// A walk through memory for many additions must give the bits of one addition after the other.
#include "sibling_kernels.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <vector>

namespace muster::internal {
namespace {

std::vector<float> random_floats(std::int64_t numel, unsigned seed) {
  std::mt19937 engine(seed);
  std::uniform_real_distribution<float> distribution(-1, 1);
  std::vector<float> values(static_cast<std::size_t>(numel));
  for (float& value : values) value = distribution(engine);
  return values;
}

TEST(SiblingKernels, AddFromTheNearestToTheFurthestAndChangeThatOneAlone) {
  for (const std::int64_t numel : {0, 1, 15, 1023, 1024, 1025, 5000}) {
    for (std::size_t siblings = 1; siblings <= 4; ++siblings) {
      std::vector<std::vector<float>> found;
      for (unsigned s = 0; s <= siblings; ++s) found.push_back(random_floats(numel, s));
      std::vector<std::vector<float>> expected = found;
      for (std::size_t i = 0; i < found.front().size(); ++i) {
        float sum = found.back()[i];
        for (std::size_t s = 0; s < siblings; ++s) sum = found[s][i] + sum;
        expected[siblings - 1][i] = sum;
      }
      std::vector<float*> memory;
      for (std::size_t s = 0; s < siblings; ++s) memory.push_back(found[s].data());
      add_to_siblings(memory, found.back().data(), numel);
      EXPECT_EQ(found, expected) << numel << " elements, " << siblings << " siblings";
    }
  }
}

}  // namespace
}  // namespace muster::internal
