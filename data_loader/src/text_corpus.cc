// Joins text files and numbers their characters.
#include "muster/data_loader/text_corpus.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cerrno>

#include "input_stream.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace fs = std::filesystem;
namespace {

void append_file(const fs::path& path, Env& env, std::string& text) {
  internal::InputStream stream(path, env);
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  for (std::size_t got = kChunkBytes; got == kChunkBytes;) {
    const std::size_t end = text.size();
    text.resize(end + kChunkBytes);
    got = stream.read(text.data() + end, kChunkBytes);
    text.resize(end + got);
  }
}

std::vector<fs::path> text_files(const fs::path& directory, Env& env) {
  std::vector<fs::path> files;
  try {
    for (const std::string& name : env.list_directory(directory)) {
      const fs::path path = directory / name;
      if (path.extension() == ".txt" && !fs::is_directory(path)) files.push_back(path);
    }
  } catch (const FileError& error) {
    throw ConfigError(directory.string() + ": expected a directory that can be listed; found: " +
                      errno_text(error.errno_value()) + ". Check its permissions");
  }
  if (files.empty()) {
    throw ConfigError(directory.string() +
                      ": expected a directory with .txt files; found none. Name the directory that "
                      "the texts lie in, not one above it");
  }
  return files;
}

std::string byte_text(unsigned char byte) {
  const bool printable = byte >= 0x20 && byte < 0x7f;
  return "byte " + std::to_string(byte) +
         (printable ? std::string(" (\"") + static_cast<char>(byte) + "\")" : std::string());
}

}  // namespace

CharVocabulary::CharVocabulary(std::string_view text) {
  std::array<bool, 256> occurs{};
  for (const char c : text) occurs[static_cast<unsigned char>(c)] = true;
  token_of_byte_.fill(-1);
  for (std::size_t byte = 0; byte < occurs.size(); ++byte) {
    if (!occurs[byte]) continue;
    token_of_byte_[byte] = static_cast<std::int16_t>(bytes_.size());
    bytes_ += static_cast<char>(byte);
  }
}

std::vector<std::int64_t> CharVocabulary::encode(std::string_view text) const {
  std::vector<std::int64_t> tokens;
  tokens.reserve(text.size());
  for (const char c : text) {
    if (token(c) < 0) {
      throw ConfigError("expected only characters that occur in the corpus; found " +
                        byte_text(static_cast<unsigned char>(c)) + " at offset " +
                        std::to_string(tokens.size()) + ". Leave it out of the text");
    }
    tokens.push_back(token(c));
  }
  return tokens;
}

std::string CharVocabulary::decode(std::span<const std::int64_t> tokens) const {
  std::string text;
  text.reserve(tokens.size());
  for (const std::int64_t token : tokens) {
    MUSTER_CHECK(token >= 0 && token < size()) << "token " << token << " of " << size();
    text += bytes_[static_cast<std::size_t>(token)];
  }
  return text;
}

TextCorpus read_text_corpus(const fs::path& path) {
  const std::unique_ptr<Env> env = make_system_env();
  return read_text_corpus(path, *env);
}

TextCorpus read_text_corpus(const fs::path& path, Env& env) {
  std::error_code ignored;  // a path that cannot be examined fails to open, with a better message
  std::string text;
  if (fs::is_directory(path, ignored)) {
    for (const fs::path& file : text_files(path, env)) append_file(file, env, text);
  } else {
    append_file(path, env, text);
  }
  if (text.empty()) {
    throw ConfigError(path.string() + ": expected text; found empty files. Name other files");
  }
  TextCorpus corpus{CharVocabulary(text),
                    at::empty({static_cast<std::int64_t>(text.size())}, at::kByte)};
  std::transform(
      text.begin(), text.end(), corpus.tokens.mutable_data_ptr<std::uint8_t>(),
      [&corpus](char c) { return static_cast<std::uint8_t>(corpus.vocabulary.token(c)); });
  return corpus;
}

}  // namespace muster
