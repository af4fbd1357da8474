// Reading and writing safetensors files.
#include "muster/checkpoint/safetensors.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <utility>

#include "chunks.h"
#include "durable_files.h"
#include "file_errors.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "range_checks.h"
#include "safetensors_format.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using internal::kMaxSafetensorsHeaderBytes;
using internal::kSafetensorsLengthBytes;

static_assert(std::endian::native == std::endian::little, "elements are stored as they are held");

constexpr const char* kAdvice = "; the file is damaged or no safetensors file: get it again";

std::int64_t read_header_bytes(const ReadableFile& file, const std::string& place,
                               std::int64_t file_bytes) {
  if (file_bytes < kSafetensorsLengthBytes) {
    throw CheckpointError(place + ": expected at least the 8 bytes of the header's length, found " +
                          std::to_string(file_bytes) + " bytes" + kAdvice);
  }
  std::uint64_t length = 0;
  internal::read_exactly(file, place, 0, kSafetensorsLengthBytes,
                         reinterpret_cast<std::byte*>(&length));
  if (length > static_cast<std::uint64_t>(kMaxSafetensorsHeaderBytes)) {
    throw CheckpointError(place + ": expected a header of at most 100000000 bytes, found " +
                          std::to_string(length) + kAdvice);
  }
  const auto bytes = static_cast<std::int64_t>(length);
  if (bytes <= file_bytes - kSafetensorsLengthBytes) return bytes;
  throw CheckpointError(place + ": expected the " + std::to_string(bytes) +
                        " bytes of the header, found " +
                        std::to_string(file_bytes - kSafetensorsLengthBytes) + kAdvice);
}

/// Tensors follow each other from 0 to `data_bytes`.
void check_layout(const std::map<std::string, SafetensorsEntry>& tensors, std::int64_t data_bytes,
                  const std::string& place) {
  std::vector<std::pair<const std::string*, const SafetensorsEntry*>> order;
  for (const auto& [name, entry] : tensors) order.emplace_back(&name, &entry);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return std::pair(a.second->offset_bytes, a.second->bytes) <
           std::pair(b.second->offset_bytes, b.second->bytes);
  });
  std::int64_t at = 0;
  for (const auto& [name, entry] : order) {
    if (entry->offset_bytes != at) {
      throw CheckpointError(place + ": expected tensor '" + *name + "' to begin at offset " +
                            std::to_string(at) + ", where the one before it ends, found " +
                            std::to_string(entry->offset_bytes) +
                            (entry->offset_bytes > at ? " (a hole)" : " (an overlap)") + kAdvice);
    }
    // Neither can overflow: a tensor has at most 2^60 bytes, and `at` is at most data_bytes.
    at += entry->bytes;
    if (at > data_bytes) break;
  }
  if (at == data_bytes) return;
  throw CheckpointError(place + ": expected " +
                        (at > data_bytes ? "at least " + std::to_string(at) : std::to_string(at)) +
                        " bytes of tensors after the header, found " + std::to_string(data_bytes) +
                        (at > data_bytes ? " (truncated)" : " (trailing bytes)") + kAdvice);
}

TensorRange range_of(const std::string& name, const SafetensorsEntry& entry) {
  return {name, entry.dtype, entry.shape, 0, entry.bytes / dtype_bytes(entry.dtype)};
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const fs::path& path, Env& env) {
  const std::string place = path.string();
  SafetensorsFile result;
  result.path_ = path;
  result.file_ =
      internal::with_read_errors("reading safetensors file", [&] { return env.open_file(path); });
  const auto file_bytes = static_cast<std::int64_t>(result.file_->size_bytes());
  const std::int64_t header_bytes = read_header_bytes(*result.file_, place, file_bytes);
  std::string text(static_cast<std::size_t>(header_bytes), '\0');
  internal::read_exactly(*result.file_, place, kSafetensorsLengthBytes, header_bytes,
                         reinterpret_cast<std::byte*>(text.data()));
  internal::SafetensorsHeader header = internal::parse_safetensors_header(text, place);
  const std::int64_t data_begin = kSafetensorsLengthBytes + header_bytes;
  check_layout(header.tensors, file_bytes - data_begin, place);
  for (auto& [name, entry] : header.tensors) entry.offset_bytes += data_begin;
  result.tensors_ = std::move(header.tensors);
  result.metadata_ = std::move(header.metadata);
  return result;
}

TensorRange SafetensorsFile::whole(const std::string& name) const {
  const auto found = tensors_.find(name);
  if (found != tensors_.end()) return range_of(name, found->second);
  throw CheckpointError(path_.string() + ": expected a tensor '" + name +
                        "', found none of that name among its " + std::to_string(tensors_.size()) +
                        " tensors; is it of another model?");
}

void SafetensorsFile::read(const TensorRange& range, void* out) const {
  const TensorRange stored = whole(range.name);
  if (stored.dtype != range.dtype || stored.shape != range.shape || range.begin < 0 ||
      range.begin > range.end || range.end > stored.end) {
    throw CheckpointError(path_.string() + ": expected tensor " + describe(range) + ", found " +
                          describe(stored) + "; is it of another model?");
  }
  const std::int64_t offset =
      tensors_.at(range.name).offset_bytes + range.begin * dtype_bytes(range.dtype);
  internal::read_exactly(*file_, path_.string() + ": tensor '" + range.name + "'", offset,
                         range.bytes(), static_cast<std::byte*>(out));
}

namespace {

void check_tensors(const std::vector<TensorRange>& tensors) {
  std::map<std::string, int> names;
  for (const TensorRange& tensor : tensors) {
    internal::check_range(tensor);
    if (tensor.begin != 0 || tensor.end != checked_numel(tensor.name, tensor.dtype, tensor.shape)) {
      throw CheckpointError("safetensors: expected whole tensors, found " + describe(tensor));
    }
    if (tensor.name == internal::kSafetensorsMetadata || ++names[tensor.name] > 1) {
      throw CheckpointError(
          "safetensors: expected each tensor once and none named __metadata__, "
          "found '" +
          tensor.name + "'; rename it");
    }
  }
}

/// The header with its length before it, padded with spaces so that the tensors begin on a multiple
/// of 8 bytes.
std::string header_text(const std::vector<TensorRange>& tensors,
                        const std::map<std::string, std::string>& metadata) {
  Json header = Json::object();
  if (!metadata.empty()) header[internal::kSafetensorsMetadata] = metadata;
  std::int64_t at = 0;
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception& e) {
    throw CheckpointError(std::string("safetensors: expected metadata of UTF-8, found: ") +
                          e.what());
  }
  // Member by member: ordered_json looks through all members at each insertion.
  text.pop_back();
  for (const TensorRange& tensor : tensors) {
    const Json entry = {{"dtype", internal::safetensors_dtype_name(tensor.dtype)},
                        {"shape", tensor.shape},
                        {"data_offsets", {at, at + tensor.bytes()}}};
    text += (text.size() > 1 ? "," : "") + Json(tensor.name).dump() + ":" + entry.dump();
    MUSTER_CHECK(!__builtin_add_overflow(at, tensor.bytes(), &at)) << tensor.name;
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (static_cast<std::int64_t>(text.size()) > kMaxSafetensorsHeaderBytes) {
    throw CheckpointError(
        "safetensors: expected names and shapes of at most 100000000 bytes, found " +
        std::to_string(text.size()) + "; write several files");
  }
  const std::uint64_t length = text.size();
  std::string prefix(sizeof(length), '\0');
  std::memcpy(prefix.data(), &length, sizeof(length));
  return prefix + text;
}

/// Gathers what is appended, so that a thousand small tensors are not a thousand system calls.
class Appender {
 public:
  explicit Appender(WritableFile& file) : file_(file), buffer_(kBufferBytes) {}

  void append_text(const std::string& text) {
    file_.write_at(offset_, text.data(), text.size());
    offset_ += text.size();
  }

  void append_tensor(const TensorRange& tensor, const RangeReader& read) {
    const std::int64_t element_bytes = dtype_bytes(tensor.dtype);
    TensorRange part = tensor;
    for (std::int64_t at = 0; at < tensor.end; at = part.end) {
      if (room() < element_bytes) flush();
      part.begin = at;
      part.end = std::min(tensor.end, at + room() / element_bytes);
      read(part, buffer_.data() + used_);
      used_ += static_cast<std::size_t>(part.bytes());
    }
  }

  void flush() {
    file_.write_at(offset_, buffer_.data(), used_);
    offset_ += used_;
    used_ = 0;
  }

 private:
  static constexpr std::size_t kBufferBytes = 4 << 20;

  std::int64_t room() const { return static_cast<std::int64_t>(buffer_.size() - used_); }

  WritableFile& file_;
  std::vector<std::byte> buffer_;
  std::size_t used_ = 0;
  std::uint64_t offset_ = 0;
};

}  // namespace

void write_safetensors(const fs::path& path, std::vector<TensorRange> tensors,
                       const std::map<std::string, std::string>& metadata, const RangeReader& read,
                       Env& env) {
  check_tensors(tensors);
  std::sort(tensors.begin(), tensors.end(), [](const TensorRange& a, const TensorRange& b) {
    return std::pair(internal::safetensors_order(a.dtype), std::string_view(a.name)) <
           std::pair(internal::safetensors_order(b.dtype), std::string_view(b.name));
  });
  const std::string header = header_text(tensors, metadata);
  internal::with_file_errors("writing " + path.string(), [&] {
    internal::replace_file(path, env, [&](WritableFile& file) {
      Appender appender(file);
      appender.append_text(header);
      for (const TensorRange& tensor : tensors) appender.append_tensor(tensor, read);
      appender.flush();
    });
  });
}

}  // namespace muster::checkpoint
