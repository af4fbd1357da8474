// The index, and what it says against what the files say.
#include "muster/checkpoint/safetensors_model.h"

#include <set>
#include <string_view>

#include "file_errors.h"
#include "json_fields.h"
#include "muster/base/error.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

constexpr std::string_view kFileEnding = ".safetensors";
constexpr std::string_view kIndexEnding = ".safetensors.index.json";
// As for a header.
constexpr std::uint64_t kMaxIndexBytes = 100'000'000;

[[noreturn]] void refuse(const fs::path& path, const std::string& text) {
  throw CheckpointError(path.string() + ": " + text + "; get the model again, all files of it");
}

std::string shown(const std::string& text) {
  return Json(text).dump(-1, ' ', false, Json::error_handler_t::replace);
}

std::string index_text(const fs::path& path, Env& env) {
  return internal::with_read_errors("reading " + path.string(), [&] {
    const auto file = env.open_file(path);
    const std::uint64_t bytes = file->size_bytes();
    if (bytes > kMaxIndexBytes)
      refuse(path,
             "expected an index of at most 100 MB, found " + std::to_string(bytes) + " bytes");
    std::string text(bytes, '\0');
    text.resize(file->read_at(0, text.data(), text.size()));
    return text;
  });
}

/// JSON that is parsed into maps forgets the first of two.
void require_names_once(const fs::path& path, const std::string& text) {
  std::vector<std::set<std::string>> open;
  const auto hear = [&](int, Json::parse_event_t event, Json& parsed) {
    if (event == Json::parse_event_t::object_start) open.emplace_back();
    if (event == Json::parse_event_t::object_end) open.pop_back();
    if (event == Json::parse_event_t::key && !open.back().insert(parsed.get<std::string>()).second)
      refuse(path, "expected each name once, found " + shown(parsed.get<std::string>()) + " twice");
    return true;
  };
  [[maybe_unused]] const Json heard = Json::parse(text, hear);
}

/// A name from the index becomes a path: it must not lead anywhere else.
void require_plain_name(const fs::path& path, const std::string& tensor, const std::string& name) {
  const bool plain = name.size() > kFileEnding.size() && name.ends_with(kFileEnding) &&
                     name.find_first_of(std::string_view("/\\\0", 3)) == std::string::npos;
  if (plain) return;
  refuse(path, "tensor " + shown(tensor) +
                   ": expected the plain name of a .safetensors file beside the index, found " +
                   shown(name));
}

using WeightMap = std::map<std::string, std::string>;

WeightMap weight_map_of(const fs::path& path, const Json& index) {
  if (!index.is_object() || !index.contains("weight_map") || !index.at("weight_map").is_object() ||
      index.at("weight_map").empty())
    refuse(path, "expected an index with a weight_map of tensors and files, found none");
  WeightMap weight_map;
  for (const auto& [tensor, file] : index.at("weight_map").items()) {
    if (!file.is_string())
      refuse(path, "tensor " + shown(tensor) + ": expected a file's name, found " + file.dump());
    require_plain_name(path, tensor, file.get<std::string>());
    weight_map.emplace(tensor, file.get<std::string>());
  }
  return weight_map;
}

void require_total_size(const fs::path& path, const Json& index,
                        const std::map<std::string, TensorRange>& tensors) {
  const Json metadata = index.value("metadata", Json::object());
  if (!metadata.is_object()) refuse(path, "metadata: expected an object, found " + metadata.dump());
  if (!metadata.contains("total_size")) return;
  std::int64_t bytes = 0;
  for (const auto& [name, whole] : tensors) bytes += whole.bytes();
  const Json& total = metadata.at("total_size");
  if (total.is_number_integer() && total == bytes) return;
  refuse(path, "metadata, total_size: expected the " + std::to_string(bytes) +
                   " bytes that its tensors have, found " + total.dump());
}

}  // namespace

bool names_safetensors(const fs::path& path) {
  const std::string name = path.filename().string();
  return name.ends_with(kFileEnding) || name.ends_with(kIndexEnding);
}

SafetensorsModel::SafetensorsModel(SafetensorsFile file) : path_(file.path()) {
  add(std::move(file));
}

void SafetensorsModel::add(SafetensorsFile file) {
  for (const auto& [name, entry] : file.tensors()) {
    const auto [at, is_new] = file_of_.try_emplace(name, files_.size());
    if (!is_new)
      refuse(path_, "tensor " + shown(name) + ": expected it in one file, found it in " +
                        files_[at->second].path().filename().string() + " and in " +
                        file.path().filename().string());
    tensors_.emplace(name, file.whole(name));
  }
  metadata_.insert(file.metadata().begin(), file.metadata().end());
  files_.push_back(std::move(file));
}

SafetensorsModel SafetensorsModel::open(const fs::path& path, Env& env) {
  if (!path.filename().string().ends_with(kIndexEnding)) return SafetensorsFile::open(path, env);
  const std::string text = index_text(path, env);
  const Json index = internal::parse_untrusted_json(text, path.string());
  require_names_once(path, text);
  const WeightMap weight_map = weight_map_of(path, index);
  std::set<std::string> names;
  for (const auto& [tensor, name] : weight_map) names.insert(name);
  SafetensorsModel model;
  model.path_ = path;
  for (const std::string& name : names) {
    model.add(SafetensorsFile::open(path.parent_path() / name, env));
  }
  for (const auto& [tensor, name] : weight_map) {
    const auto at = model.file_of_.find(tensor);
    if (at != model.file_of_.end() && model.files_[at->second].path().filename() == name) continue;
    refuse(path, "tensor " + shown(tensor) + ": expected it in " + name + ", found it " +
                     (at == model.file_of_.end()
                          ? "in no file"
                          : "in " + model.files_[at->second].path().filename().string()));
  }
  for (const auto& [tensor, file] : model.file_of_) {
    if (weight_map.contains(tensor)) continue;
    refuse(path, "expected only tensors of the weight_map, found " + shown(tensor) + " in " +
                     model.files_[file].path().filename().string());
  }
  require_total_size(path, index, model.tensors_);
  return model;
}

void SafetensorsModel::read(const TensorRange& range, void* out) const {
  const auto at = file_of_.find(range.name);
  if (at == file_of_.end()) {
    throw CheckpointError(path_.string() + ": expected tensor " + describe(range) +
                          ", found none of that name; is it another model?");
  }
  files_[at->second].read(range, out);
}

}  // namespace muster::checkpoint
