// Texts of a directory as tokens of a character vocabulary.
#include "muster/data_loader/text_corpus.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "data_loader/temporary_directory.h"
#include "muster/base/error.h"

namespace muster {
namespace {

std::string decoded(const TextCorpus& corpus) {
  std::vector<std::int64_t> tokens;
  for (std::int64_t i = 0; i < corpus.tokens.numel(); ++i) {
    tokens.push_back(corpus.tokens.const_data_ptr<std::uint8_t>()[i]);
  }
  return corpus.vocabulary.decode(tokens);
}

TEST(CharVocabularyTest, TokensAreThePlacesOfTheSortedBytes) {
  const CharVocabulary vocabulary("cab\nbac");
  EXPECT_EQ(vocabulary.bytes(), "\nabc");
  EXPECT_EQ(vocabulary.encode("abc\n"), (std::vector<std::int64_t>{1, 2, 3, 0}));
  EXPECT_EQ(vocabulary.decode(std::vector<std::int64_t>{3, 0}), "c\n");
  EXPECT_EQ(vocabulary.token('d'), -1);
  EXPECT_THROW(vocabulary.decode(std::vector<std::int64_t>{4}), InternalError);
  EXPECT_THROW(vocabulary.decode(std::vector<std::int64_t>{-1}), InternalError);
  try {
    vocabulary.encode("abXc");
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("byte 88 (\"X\") at offset 2"), std::string::npos)
        << error.what();
  }
}

TEST(CharVocabularyTest, All256BytesHaveATokenEach) {
  std::string bytes;
  for (int byte = 255; byte >= 0; --byte) bytes += static_cast<char>(byte);
  const CharVocabulary vocabulary(bytes);
  ASSERT_EQ(vocabulary.size(), 256);
  EXPECT_EQ(vocabulary.decode(vocabulary.encode(bytes)), bytes);
  EXPECT_EQ(vocabulary.token('\xff'), 255);
}

TEST(TextCorpusTest, TextsAreJoinedInTheOrderOfTheirNames) {
  const TemporaryDirectory directory;
  directory.write("b.txt", "second\n");
  directory.write("a.txt", std::string("f\xc3\xb6rst\0", 7));
  directory.write("c.txt", "");
  directory.write("notes.md", "not a text");
  std::filesystem::create_directory(directory.path() / "deeper.txt");
  const TextCorpus corpus = read_text_corpus(directory.path());
  EXPECT_EQ(decoded(corpus), std::string("f\xc3\xb6rst\0second\n", 14));
  EXPECT_EQ(corpus.tokens.scalar_type(), at::kByte);
}

TEST(TextCorpusTest, OneFileIsACorpusOfItsOwn) {
  const TemporaryDirectory directory;
  const std::string text(3'000'001, 'x');  // more than one chunk
  EXPECT_EQ(decoded(read_text_corpus(directory.write("play", text))), text);
}

TEST(TextCorpusTest, NoTextIsTheCallersToCorrect) {
  const TemporaryDirectory directory;
  EXPECT_THROW(read_text_corpus(directory.path()), ConfigError);
  EXPECT_THROW(read_text_corpus(directory.path() / "absent"), ConfigError);
  directory.write("empty.txt", "");
  EXPECT_THROW(read_text_corpus(directory.path()), ConfigError);
  std::filesystem::create_symlink("nowhere", directory.path() / "broken.txt");
  EXPECT_THROW(read_text_corpus(directory.path()), ConfigError);
}

}  // namespace
}  // namespace muster
