// Hash values that stand in checkpoints and seeds: frozen.
#include "muster/base/hash.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <random>
#include <string>

namespace muster {
namespace {

std::string hex_of(std::string_view text) {
  Hash128 hash;
  hash.update(text);
  return hash.hex();
}

TEST(Hash, GoldenValues) {
  // As by the Python package xxhash (xxh3_64, xxh3_128).
  EXPECT_EQ(hash64(""), 0x2d06800538d394c2u);
  EXPECT_EQ(hash64("muster"), 0x77c5b4d7e32f82c4u);
  EXPECT_EQ(hash64("muster", 7), 0x44e0b72370c6c2c2u);
  EXPECT_EQ(hex_of(""), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(hex_of("muster"), "90d256a5656efe7ed3172c6c7a83b39c");
  EXPECT_EQ(hex_of(std::string(1000, 'm')), "c6cd4a1b05ac364828fb258e508b1e2f");
}

TEST(Hash, Mix64GoldenValues) {
  EXPECT_EQ(mix64(0, 0), 0x6db6ca64564daeaau);
  EXPECT_EQ(mix64(1, 0), 0x5cc60547776902bau);
  EXPECT_EQ(mix64(0, 1), 0x6f8aaeac2856bddbu);
  EXPECT_EQ(mix64(~std::uint64_t{0}, 42), 0xc4b04fa2c78c67c0u);
}

TEST(Hash, TextAndBytesAgree) {
  const std::string text("with\0a zero", 11);
  EXPECT_EQ(hash64(text, 3), hash64_bytes(text.data(), text.size(), 3));
  EXPECT_NE(hash64(text, 3), hash64(text, 4));
}

TEST(Hash128, CutIntoPiecesDoesNotMatter) {
  std::mt19937 random(2);
  std::string text(5000, '\0');
  for (char& c : text) c = static_cast<char>(random());
  const std::string whole = hex_of(text);
  for (int trial = 0; trial < 50; ++trial) {
    Hash128 hash;
    for (std::size_t at = 0; at < text.size();) {
      const std::size_t bytes = std::min<std::size_t>(random() % 700, text.size() - at);
      hash.update(text.data() + at, bytes);
      at += bytes;
    }
    ASSERT_EQ(hash.hex(), whole);
  }
}

TEST(Hash128, ReadingTheValueDoesNotEndTheStream) {
  Hash128 hash;
  hash.update("mus");
  EXPECT_EQ(hash.hex(), hex_of("mus"));
  hash.update("ter");
  EXPECT_EQ(hash.hex(), hex_of("muster"));
}

}  // namespace
}  // namespace muster
