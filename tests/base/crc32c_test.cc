// CRC-32C against the vectors of RFC 3720, and its two forms against each other.
#include "muster/base/crc32c.h"

#include <gtest/gtest.h>

#include <cstdint>
#include <random>
#include <string>
#include <vector>

namespace muster {
namespace {

using Crc = std::uint32_t (*)(const void*, std::size_t, std::uint32_t);

class Crc32c : public testing::TestWithParam<Crc> {};

TEST_P(Crc32c, KnownVectors) {
  const Crc crc = GetParam();
  EXPECT_EQ(crc("", 0, 0), 0u);
  EXPECT_EQ(crc("123456789", 9, 0), 0xe3069283u);
  // RFC 3720, appendix B.4
  std::vector<unsigned char> data(32, 0x00);
  EXPECT_EQ(crc(data.data(), 32, 0), 0x8a9136aau);
  data.assign(32, 0xff);
  EXPECT_EQ(crc(data.data(), 32, 0), 0x62a8ab43u);
  for (unsigned i = 0; i < 32; ++i) data[i] = static_cast<unsigned char>(i);
  EXPECT_EQ(crc(data.data(), 32, 0), 0x46dd794eu);
  for (unsigned i = 0; i < 32; ++i) data[i] = static_cast<unsigned char>(31 - i);
  EXPECT_EQ(crc(data.data(), 32, 0), 0x113fdb5cu);
}

TEST_P(Crc32c, ContinuesFromAnyCut) {
  const std::string text = "The checksum of a whole is that of its parts in turn.";
  const Crc crc = GetParam();
  const std::uint32_t whole = crc(text.data(), text.size(), 0);
  for (std::size_t cut = 0; cut <= text.size(); ++cut) {
    const std::uint32_t first = crc(text.data(), cut, 0);
    EXPECT_EQ(crc(text.data() + cut, text.size() - cut, first), whole) << "cut at " << cut;
  }
}

TEST_P(Crc32c, EverySingleBitMatters) {
  std::vector<unsigned char> data(70, 0x5a);
  const Crc crc = GetParam();
  const std::uint32_t before = crc(data.data(), data.size(), 0);
  for (std::size_t bit = 0; bit < data.size() * 8; ++bit) {
    const auto mask = static_cast<unsigned char>(1u << (bit % 8));
    data[bit / 8] ^= mask;
    EXPECT_NE(crc(data.data(), data.size(), 0), before) << "bit " << bit;
    data[bit / 8] ^= mask;
  }
}

INSTANTIATE_TEST_SUITE_P(Forms, Crc32c, testing::Values(&crc32c, &internal::crc32c_portable),
                         [](const auto& form) {
                           return form.index == 0 ? "Dispatched" : "Portable";
                         });

TEST(Crc32cForms, AgreeAtEveryAlignmentAndLength) {
  std::mt19937 random(1);
  std::vector<unsigned char> data(600);
  for (unsigned char& byte : data) byte = static_cast<unsigned char>(random());
  for (std::size_t offset = 0; offset < 16; ++offset) {
    for (std::size_t bytes = 0; bytes < 520; ++bytes) {
      const auto from = static_cast<std::uint32_t>(random());
      ASSERT_EQ(crc32c(data.data() + offset, bytes, from),
                internal::crc32c_portable(data.data() + offset, bytes, from))
          << "offset " << offset << ", bytes " << bytes;
    }
  }
}

// Long inputs go through three streams at once, 12 KiB a turn.
TEST(Crc32cForms, AgreeAboutLongInputs) {
  std::mt19937 random(2);
  std::vector<unsigned char> data(3 * 12288 + 64);
  for (unsigned char& byte : data) byte = static_cast<unsigned char>(random());
  for (std::size_t turns = 1; turns <= 3; ++turns) {
    for (std::size_t bytes = turns * 12288 - 9; bytes <= turns * 12288 + 9; ++bytes) {
      const std::size_t offset = random() % 16;
      const auto from = static_cast<std::uint32_t>(random());
      ASSERT_EQ(crc32c(data.data() + offset, bytes, from),
                internal::crc32c_portable(data.data() + offset, bytes, from))
          << "offset " << offset << ", bytes " << bytes;
    }
  }
}

}  // namespace
}  // namespace muster
