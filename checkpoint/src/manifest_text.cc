// The bytes of manifest.json (docs/checkpoint_format.md).
#include <limits>
#include <utility>

#include "chunks.h"
#include "file_errors.h"
#include "json_fields.h"
#include "manifest_checks.h"
#include "muster/base/error.h"
#include "muster/checkpoint/manifest.h"
#include "range_checks.h"
#include "sealed_json.h"

namespace muster::checkpoint {
namespace {

using internal::JsonFields;

constexpr const char* kFormatName = "muster-checkpoint";
constexpr std::int64_t kMaxInt = std::numeric_limits<int>::max();

Json tensor_to_json(const std::string& name, const TensorEntry& entry) {
  Json pieces = Json::array();
  for (const Piece& piece : entry.pieces) {
    pieces.push_back({{"file", piece.file},
                      {"begin", piece.begin},
                      {"end", piece.end},
                      {"offset", piece.offset_bytes},
                      {"crc32c", internal::checksums_text(piece.chunk_crc32c)}});
  }
  return {{"name", name},
          {"dtype", dtype_name(entry.dtype)},
          {"shape", entry.shape},
          {"pieces", std::move(pieces)}};
}

Piece piece_from_json(const Json& json, const std::string& place, const TensorEntry& entry,
                      std::int64_t numel, int world_size) {
  const JsonFields fields(json, place);
  Piece piece;
  piece.file = static_cast<int>(fields.integer("file", 0, world_size - 1));
  piece.begin = fields.integer("begin", 0, numel);
  piece.end = fields.integer("end", piece.begin, numel);
  piece.offset_bytes = fields.integer("offset", 0);
  const std::int64_t bytes = (piece.end - piece.begin) * dtype_bytes(entry.dtype);
  piece.chunk_crc32c = fields.checksums("crc32c", internal::chunk_count(bytes));
  return piece;
}

std::int64_t numel_of_untrusted(const std::string& name, const TensorEntry& entry,
                                const std::string& place) {
  try {
    internal::check_tensor_name(name);
    return checked_numel(name, entry.dtype, entry.shape);
  } catch (const CheckpointError& error) {
    throw CheckpointError(place + ": " + error.what());
  }
}

std::pair<std::string, TensorEntry> tensor_from_json(const Json& json, const std::string& place,
                                                     int world_size) {
  const JsonFields fields(json, place);
  const std::string name = fields.text("name");
  TensorEntry entry{fields.dtype("dtype"), fields.shape("shape"), {}};
  const std::int64_t numel = numel_of_untrusted(name, entry, place);
  const Json& pieces = fields.array("pieces");
  for (std::size_t p = 0; p < pieces.size(); ++p) {
    const std::string piece_place = place + " '" + name + "' pieces[" + std::to_string(p) + "]";
    entry.pieces.push_back(piece_from_json(pieces[p], piece_place, entry, numel, world_size));
  }
  return {name, std::move(entry)};
}

void read_files(Manifest& manifest, const JsonFields& fields) {
  const Json& files = fields.array("files");
  for (std::size_t f = 0; f < files.size(); ++f) {
    const JsonFields file(files[f], fields.place() + ": files[" + std::to_string(f) + "]");
    manifest.files.push_back({file.text("file"), file.integer("bytes", 0),
                              file.checksums("structure_crc32c", 1).front()});
  }
}

void read_tensors(Manifest& manifest, const JsonFields& fields) {
  const Json& tensors = fields.array("tensors");
  for (std::size_t t = 0; t < tensors.size(); ++t) {
    const std::string place = fields.place() + ": tensors[" + std::to_string(t) + "]";
    auto tensor = tensor_from_json(tensors[t], place, manifest.world_size);
    const std::string name = tensor.first;
    if (!manifest.tensors.insert(std::move(tensor)).second) {
      throw CheckpointError(place + ": expected each tensor once, found '" + name + "' again");
    }
  }
}

void check_format(const JsonFields& fields) {
  if (fields.text("format") != kFormatName) {
    fields.refuse("format", std::string("\"") + kFormatName + "\"", fields.any("format"));
  }
  const std::int64_t version = fields.integer("version", 1);
  if (version <= kFormatVersion) return;
  throw Undecided(fields.place() + ": expected checkpoint format version " +
                  std::to_string(kFormatVersion) + " or older, found version " +
                  std::to_string(version) + "; read it with a newer Muster (" +
                  fields.text("muster_version") + " wrote it)");
}

}  // namespace

std::string Manifest::to_text() const {
  Json json_files = Json::array();
  for (const ManifestFile& file : files) {
    json_files.push_back({{"file", file.file},
                          {"bytes", file.bytes},
                          {"structure_crc32c", internal::checksum_text(file.structure_crc32c)}});
  }
  Json json_tensors = Json::array();
  for (const auto& [name, entry] : tensors) json_tensors.push_back(tensor_to_json(name, entry));
  const Json json = {{"format", kFormatName},
                     {"version", kFormatVersion},
                     {"muster_version", muster_version},
                     {"step", step},
                     {"generation", generation},
                     {"world_size", world_size},
                     {"run_state", run_state},
                     {"files", std::move(json_files)},
                     {"tensors", std::move(json_tensors)}};
  try {
    return internal::sealed_text(json);
  } catch (const nlohmann::json::exception& error) {
    throw CheckpointError(std::string("run_state: expected strings in UTF-8, found: ") +
                          error.what());
  }
}

Manifest Manifest::from_text(std::string_view text, const std::string& origin) {
  internal::check_seal(text, "manifest", origin);
  const Json json = internal::parse_untrusted_json(text, origin);
  const JsonFields fields(json, origin);
  check_format(fields);
  Manifest manifest;
  manifest.muster_version = fields.text("muster_version");
  manifest.step = fields.integer("step", 0);
  manifest.generation = static_cast<int>(fields.integer("generation", 0, kMaxInt));
  manifest.world_size = static_cast<int>(fields.integer("world_size", 1, kMaxInt));
  manifest.run_state = fields.any("run_state");
  read_files(manifest, fields);
  read_tensors(manifest, fields);
  internal::sort_and_check(manifest, origin);
  return manifest;
}

}  // namespace muster::checkpoint
