// The texts of a directory as one sequence of characters with small numbers, for character language
// models.
#ifndef MUSTER_DATA_LOADER_TEXT_CORPUS_H_
#define MUSTER_DATA_LOADER_TEXT_CORPUS_H_

#include <ATen/core/Tensor.h>

#include <array>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "muster/base/env.h"

namespace muster {

/// The bytes that occur in a corpus, sorted; a byte's place among them is its token.
class CharVocabulary {
 public:
  /// The distinct bytes of `text`.
  explicit CharVocabulary(std::string_view text);

  /// 1 .. 256; 0 for an empty text.
  std::int64_t size() const { return static_cast<std::int64_t>(bytes_.size()); }
  /// The token of `c`, or -1 when the vocabulary lacks it.
  std::int64_t token(char c) const { return token_of_byte_[static_cast<unsigned char>(c)]; }
  /// Throws ConfigError naming the first byte that is not in the vocabulary.
  std::vector<std::int64_t> encode(std::string_view text) const;
  /// Throws InternalError for a token outside 0 .. size()-1.
  std::string decode(std::span<const std::int64_t> tokens) const;
  /// The distinct bytes in order of their tokens.
  const std::string& bytes() const { return bytes_; }

 private:
  std::string bytes_;
  std::array<std::int16_t, 256> token_of_byte_;  // -1: not in the vocabulary
};

struct TextCorpus {
  CharVocabulary vocabulary;
  at::Tensor tokens;  // uint8 [bytes of all texts]
};

/// Reads `path`, a text file, or a directory whose `.txt` files (not those of its subdirectories)
/// are joined in the order of their names. Blocks. Any thread. Throws ConfigError when the path is
/// missing or unreadable or has no text in it.
TextCorpus read_text_corpus(const std::filesystem::path& path);
TextCorpus read_text_corpus(const std::filesystem::path& path, Env& env);

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_TEXT_CORPUS_H_
