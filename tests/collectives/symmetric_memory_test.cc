// Places in the node memory mean the same to every rank.
#include "symmetric_memory.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cstring>

namespace muster::internal {
namespace {

class SymmetricMemoryTest : public ::testing::Test {
 protected:
  SymmetricMemoryTest() {
    for (int rank = 0; rank < 2; ++rank) {
      std::shared_ptr<NodeMemory> attached = NodeMemory::attach(dup(created_->fd()), 0);
      ranks_.push_back(
          std::make_unique<SymmetricMemory>(NodeGroup::everyone(std::move(attached)), rank));
    }
  }

  std::unique_ptr<NodeMemory> created_ = NodeMemory::create(2, 0);
  std::vector<std::unique_ptr<SymmetricMemory>> ranks_;
};

TEST_F(SymmetricMemoryTest, TranslatesBetweenRanks) {
  for (const std::int64_t bytes : {1, 4096, 100000, 8}) {
    const auto copies_0 = ranks_[0]->allocate_copies(bytes);
    const auto copies_1 = ranks_[1]->allocate_copies(bytes);
    for (int owner = 0; owner < 2; ++owner) {
      std::byte* const own = owner == 0 ? copies_0[0] : copies_1[1];
      const auto location = ranks_[static_cast<std::size_t>(owner)]->location(own, bytes);
      ASSERT_TRUE(location.has_value());
      std::byte* const seen =
          ranks_[static_cast<std::size_t>(1 - owner)]->at_location(*location, bytes);
      ASSERT_NE(seen, nullptr);
      own[bytes - 1] = std::byte{0x5a};
      EXPECT_EQ(seen[bytes - 1], std::byte{0x5a});
      own[bytes - 1] = std::byte{0};
    }
  }
}

TEST_F(SymmetricMemoryTest, KnowsWhatIsNotItsOwn) {
  const auto copies = ranks_[0]->allocate_copies(8192);
  std::byte outside{};
  EXPECT_FALSE(ranks_[0]->location(&outside, 1).has_value());
  EXPECT_FALSE(ranks_[0]->location(copies[0] + 8000, 8192).has_value());  // runs over the end
  EXPECT_FALSE(ranks_[0]->location(copies[1], 1).has_value());            // another rank's
  EXPECT_TRUE(ranks_[0]->location(copies[0] + 8000, 192).has_value());
}

TEST_F(SymmetricMemoryTest, DoesNotTranslateWhatItHasNotAllocated) {
  const auto copies = ranks_[0]->allocate_copies(8192);
  const auto location = ranks_[0]->location(copies[0], 8192);
  EXPECT_EQ(ranks_[1]->at_location(*location, 8192), nullptr);
}

TEST_F(SymmetricMemoryTest, SharesABlockBetweenAllRanks) {
  std::byte* const one = ranks_[0]->allocate_shared(100);
  std::byte* const other = ranks_[1]->allocate_shared(100);
  one[99] = std::byte{1};
  EXPECT_EQ(other[99], std::byte{1});
}

TEST_F(SymmetricMemoryTest, GivesCopiesBackOnceNobodyUsesThemAnyMore) {
  created_->join(0);  // this process is both ranks
  const auto bytes_in_use = [&] {
    struct stat info {};
    EXPECT_EQ(fstat(created_->fd(), &info), 0);
    return info.st_blocks * 512;
  };
  constexpr std::int64_t kBytes = 1 << 20;
  std::memset(ranks_[0]->allocate_copies(kBytes)[0], 1, kBytes);
  std::byte* const other = ranks_[1]->allocate_copies(kBytes)[1];
  std::memset(other, 1, kBytes);
  ranks_[0].reset();
  EXPECT_GE(bytes_in_use(), 2 * kBytes);
  EXPECT_EQ(other[kBytes - 1], std::byte{1});
  ranks_[1].reset();
  EXPECT_LT(bytes_in_use(), kBytes / 2);
}

// It may wake, and still has what it wrote.
TEST_F(SymmetricMemoryTest, KeepsTheCopiesOfAnExcludedRankAlone) {
  created_->join(1);
  std::memset(ranks_[0]->allocate_copies(1 << 20)[0], 1, 1 << 20);
  std::byte* const own = ranks_[1]->allocate_copies(1 << 20)[1];
  std::memset(own, 1, 1 << 20);
  ranks_[0]->exclude(1);
  EXPECT_TRUE(ranks_[1]->is_excluded(1));
  ranks_[0].reset();
  EXPECT_EQ(own[(1 << 20) - 1], std::byte{1});
  struct stat info {};
  ASSERT_EQ(fstat(created_->fd(), &info), 0);
  EXPECT_LT(info.st_blocks * 512, (1 << 20) + (1 << 19));
}

}  // namespace
}  // namespace muster::internal
