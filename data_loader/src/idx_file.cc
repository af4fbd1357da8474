// The IDX header, checked number by number, and the values in this machine's byte order.
#include "muster/data_loader/idx_file.h"

#include <ATen/ops/empty.h>

#include <array>
#include <bit>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "input_stream.h"

namespace muster {
namespace {

static_assert(std::endian::native == std::endian::little, "IDX values are swapped on reading");

// Enough for any data set seen; far below what a tensor can have.
constexpr int kMaxDimensions = 8;

struct IdxHeader {
  at::ScalarType dtype = at::kByte;
  std::vector<std::int64_t> shape;
  std::uint64_t header_bytes = 0;
  std::uint64_t data_bytes = 0;
};

std::string hex(const std::array<std::uint8_t, 4>& bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::uint8_t byte : bytes) {
    if (!text.empty()) text += ' ';
    text += kDigits[byte >> 4];
    text += kDigits[byte & 15];
  }
  return text;
}

std::string shape_text(const std::vector<std::int64_t>& shape) {
  std::string text = "[";
  for (const std::int64_t dimension : shape) {
    text += (text.size() > 1 ? ", " : "") + std::to_string(dimension);
  }
  return text + "]";
}

std::optional<at::ScalarType> dtype_of(std::uint8_t code) {
  switch (code) {
    case 0x08:
      return at::kByte;
    case 0x09:
      return at::kChar;
    case 0x0B:
      return at::kShort;
    case 0x0C:
      return at::kInt;
    case 0x0D:
      return at::kFloat;
    case 0x0E:
      return at::kDouble;
    default:
      return std::nullopt;
  }
}

std::array<std::uint8_t, 4> read_word(internal::InputStream& stream,
                                      const std::filesystem::path& path, const std::string& what) {
  std::array<std::uint8_t, 4> word{};
  const std::size_t got = stream.read(word.data(), word.size());
  if (got != word.size()) {
    internal::throw_damaged(path, "4 bytes of " + what, "the end after " + std::to_string(got));
  }
  return word;
}

std::int64_t big_endian(const std::array<std::uint8_t, 4>& word) {
  return std::int64_t{word[0]} << 24 | std::int64_t{word[1]} << 16 | std::int64_t{word[2]} << 8 |
         std::int64_t{word[3]};
}

IdxHeader read_header(internal::InputStream& stream, const std::filesystem::path& path) {
  const auto magic = read_word(stream, path, "the IDX magic number");
  const std::optional<at::ScalarType> dtype = dtype_of(magic[2]);
  if (magic[0] != 0 || magic[1] != 0 || !dtype) {
    internal::throw_damaged(
        path, "the IDX magic number: 00 00, a type of 08, 09, 0b, 0c, 0d or 0e, a dimension count",
        hex(magic));
  }
  const int dimensions = magic[3];
  if (dimensions < 1 || dimensions > kMaxDimensions) {
    internal::throw_damaged(path, "1 to " + std::to_string(kMaxDimensions) + " dimensions",
                            std::to_string(dimensions));
  }
  IdxHeader header;
  header.dtype = *dtype;
  header.header_bytes = 4 + 4 * static_cast<std::uint64_t>(dimensions);
  header.data_bytes = c10::elementSize(*dtype);
  const std::uint64_t most_bytes = stream.content_bytes_at_most();
  for (int i = 0; i < dimensions; ++i) {
    const std::int64_t size = big_endian(read_word(stream, path, "dimension " + std::to_string(i)));
    header.shape.push_back(size);
    if (size < 1) {
      internal::throw_damaged(path, "dimensions of at least 1", shape_text(header.shape));
    }
    // Never beyond what the file can hold, so the product cannot overflow: 2^32 times a file's
    // size.
    if (header.data_bytes > most_bytes / static_cast<std::uint64_t>(size)) {
      internal::throw_damaged(path,
                              "dimensions that fit in the file, whose content is at most " +
                                  std::to_string(most_bytes) + " bytes",
                              shape_text(header.shape) + " and values of " +
                                  std::to_string(c10::elementSize(*dtype)) + " bytes");
    }
    header.data_bytes *= static_cast<std::uint64_t>(size);
  }
  return header;
}

void reverse_bytes(std::byte* data, std::size_t bytes, std::size_t value_bytes) {
  if (value_bytes == 1) return;
  for (std::size_t at = 0; at < bytes; at += value_bytes) {
    for (std::size_t i = 0; i < value_bytes / 2; ++i) {
      std::swap(data[at + i], data[at + value_bytes - 1 - i]);
    }
  }
}

}  // namespace

at::Tensor read_idx(const std::filesystem::path& path) {
  const std::unique_ptr<Env> env = make_system_env();
  return read_idx(path, *env);
}

at::Tensor read_idx(const std::filesystem::path& path, Env& env) {
  internal::InputStream stream(path, env);
  const IdxHeader header = read_header(stream, path);
  at::Tensor values = at::empty(header.shape, header.dtype);
  std::byte* data = static_cast<std::byte*>(values.mutable_data_ptr());

  const std::string expected =
      std::to_string(header.data_bytes) + " bytes of values for shape " + shape_text(header.shape);
  const std::size_t got = stream.read(data, header.data_bytes);
  if (got != header.data_bytes) {
    internal::throw_damaged(path, expected,
                            std::to_string(got) + " before the end: the file is cut short");
  }
  std::byte extra{};
  if (stream.read(&extra, 1) != 0) {
    internal::throw_damaged(path, expected, "more bytes after them");
  }
  reverse_bytes(data, header.data_bytes, c10::elementSize(header.dtype));
  return values;
}

}  // namespace muster
