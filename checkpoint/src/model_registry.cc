// The registry's directories.
#include "muster/checkpoint/model_registry.h"

#include <algorithm>
#include <set>
#include <utility>

#include "durable_files.h"
#include "file_errors.h"
#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/transfer.h"
#include "numbered_claims.h"
#include "registry_records.h"
#include "registry_uploads.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using internal::claim_name;
using internal::claimed_numbers;
using internal::with_file_errors;

constexpr const char* kRegistryFile = "registry.json";
constexpr const char* kVersionFile = "version.json";
constexpr const char* kPromotionFile = "promotion.json";
constexpr std::string_view kNameCharacters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.";

bool is_number(const std::string& text) {
  return !text.empty() && text.find_first_not_of("0123456789") == std::string::npos;
}

void check_name(const char* kind, const std::string& name) {
  if (!name.empty() && name.size() <= 100 && name.front() != '.' &&
      name.find_first_not_of(kNameCharacters) == std::string::npos) {
    return;
  }
  throw ConfigError(std::string("model registry: expected the name of a ") + kind +
                    " of 1 to 100 letters, digits, '-', '_' and '.' (not first), found '" + name +
                    "'");
}

void check_stage(const std::string& stage) {
  check_name("stage", stage);
  if (!is_number(stage)) return;
  throw ConfigError("model registry: expected the name of a stage that is no number, found '" +
                    stage + "'; call it staging or production, say");
}

fs::path versions_directory(const fs::path& registry, const std::string& name) {
  return registry / "models" / name / "versions";
}

fs::path stages_directory(const fs::path& registry, const std::string& name) {
  return registry / "models" / name / "stages";
}

fs::path uploads_directory(const fs::path& registry, const std::string& name) {
  return registry / "models" / name / "uploads";
}

}  // namespace

fs::path ModelVersion::checkpoint() const {
  if (upload.empty()) return directory / "checkpoint";
  return directory.parent_path().parent_path() / "uploads" / upload;
}

ModelRegistry::ModelRegistry(fs::path directory, Env& env)
    : ModelRegistry(std::move(directory), env, nullptr) {}

ModelRegistry::ModelRegistry(fs::path directory, Env& env, CreateOnce create_once)
    : directory_(directory.has_filename() ? std::move(directory) : directory.parent_path()),
      env_(&env),
      create_once_(std::move(create_once)) {}

// Every process writes the same bytes, so it does not matter whose file stays.
void ModelRegistry::prepare() const {
  internal::remove_abandoned(directory_ / "incoming", *env_);
  const fs::path path = directory_ / kRegistryFile;
  if (env_->exists(path)) {
    internal::check_registry_text(env_->read_text(path), path.string());
    return;
  }
  internal::create_directories_durably(directory_, *env_);
  internal::Incoming incoming(directory_ / "incoming", *env_);
  internal::write_file_durably(incoming.path() / kRegistryFile, internal::registry_text(), *env_);
  env_->rename(incoming.path() / kRegistryFile, path);
  env_->sync_directory(directory_);
}

// A store that knows no conditions replaces what is there, silently: of two versions of one number
// the first would be lost. So whoever creates the registry tries to replace it, with another text,
// which cannot be taken for what was written before.
void ModelRegistry::prepare_store() const {
  const fs::path path = directory_ / kRegistryFile;
  const std::string text = internal::registry_text();
  if (create_once_(path, text) && create_once_(path, text + "\n")) {
    env_->remove_all(path);
    throw CheckpointError(path.string() +
                          ": expected the store to refuse to replace an object (If-None-Match), "
                          "found that it replaces it; keep the registry in a store that knows "
                          "conditional writes, or on disk");
  }
  internal::check_registry_text(env_->read_text(path), path.string());
}

void ModelRegistry::place(const Checkpoint& checkpoint, Env& from, ModelVersion& version) const {
  prepare();
  internal::Incoming incoming(directory_ / "incoming", *env_);
  version.digest =
      copy_checked(checkpoint, from, incoming.path() / "checkpoint", *env_).state_hash();
  internal::write_file_durably(incoming.path() / kVersionFile, internal::version_text(version),
                               *env_);
  env_->sync_directory(incoming.path());
  version.version = incoming.claim(versions_directory(directory_, version.name));
}

// Uploads without an owner are looked for before this version gets its number, and compared with
// the records after it. A record that a dead process has sent and that is still on its way is for a
// number that was the next one at its time, so at most this one: it comes too late, and what it
// names will never be a version's.
void ModelRegistry::place_in_store(const Checkpoint& checkpoint, Env& from,
                                   ModelVersion& version) const {
  prepare_store();
  const fs::path uploads = uploads_directory(directory_, version.name);
  const std::vector<std::string> ownerless = internal::ownerless_uploads(uploads, *env_);
  internal::Upload upload(uploads, *env_);
  version.upload = upload.name();
  version.digest = copy_checked(checkpoint, from, upload.path(), *env_).state_hash();
  upload.keep();
  version.version =
      internal::create_numbered(versions_directory(directory_, version.name), kVersionFile,
                                internal::version_text(version), create_once_, *env_);
  if (!ownerless.empty()) remove_unnamed(version.name, ownerless);
}

void ModelRegistry::remove_unnamed(const std::string& name,
                                   const std::vector<std::string>& uploads) const {
  try {
    std::set<std::string> named;
    for (const ModelVersion& version : versions(name)) named.insert(version.upload);
    for (const std::string& upload : uploads) {
      if (!named.contains(upload))
        remove_checkpoint(uploads_directory(directory_, name) / upload, *env_);
    }
  } catch (const Error& error) {  // the version is there all the same
    MUSTER_LOG(WARNING) << "what dead processes have uploaded stays behind: " << error.what();
  }
}

ModelVersion ModelRegistry::add(const Checkpoint& checkpoint, Env& from, const std::string& name,
                                const Registration& registration) const {
  check_name("model", name);
  ModelVersion version{.name = name,
                       .step = checkpoint.manifest().step,
                       .registered_at = internal::utc_text(env_->now()),
                       .registration = registration};
  internal::version_text(version);  // throws before anything is copied
  with_file_errors("registering model " + name, [&] {
    if (create_once_) {
      place_in_store(checkpoint, from, version);
    } else {
      place(checkpoint, from, version);
    }
  });
  version.directory = versions_directory(directory_, name) / claim_name(version.version);
  return version;
}

std::vector<std::string> ModelRegistry::names() const {
  return with_file_errors("listing models", [&] {
    const fs::path models = directory_ / "models";
    std::vector<std::string> names;
    if (!env_->exists(models)) return names;
    for (const std::string& name : env_->list_directory(models)) {
      if (!claimed_numbers(versions_directory(directory_, name), *env_).empty())
        names.push_back(name);
    }
    return names;
  });
}

ModelVersion ModelRegistry::read_version(const std::string& name, int version) const {
  const fs::path directory = versions_directory(directory_, name) / claim_name(version);
  const fs::path path = directory / kVersionFile;
  ModelVersion result = internal::version_from_text(env_->read_text(path), path.string());
  if (result.name != name) {
    throw CheckpointError(path.string() + ": expected the record of model '" + name +
                          "', found that of '" + result.name + "'; a directory was moved");
  }
  result.version = version;
  result.directory = directory;
  return result;
}

std::map<std::string, int> ModelRegistry::stages_of(const std::string& name) const {
  std::map<std::string, int> stages;
  const fs::path directory = stages_directory(directory_, name);
  if (!env_->exists(directory)) return stages;
  for (const std::string& stage : env_->list_directory(directory)) {
    const std::vector<int> promotions = claimed_numbers(directory / stage, *env_);
    if (promotions.empty()) continue;
    const fs::path path = directory / stage / claim_name(promotions.back()) / kPromotionFile;
    stages[stage] = internal::promotion_from_text(env_->read_text(path), path.string());
  }
  return stages;
}

std::vector<ModelVersion> ModelRegistry::versions(const std::string& name) const {
  check_name("model", name);
  return with_file_errors("reading model " + name, [&] {
    std::vector<ModelVersion> versions;
    const std::map<std::string, int> stages = stages_of(name);
    for (const int number : claimed_numbers(versions_directory(directory_, name), *env_)) {
      versions.push_back(read_version(name, number));
      for (const auto& [stage, version] : stages) {
        if (version == number) versions.back().stages.push_back(stage);
      }
    }
    return versions;
  });
}

ModelVersion ModelRegistry::get(const std::string& name, const std::string& which) const {
  const std::vector<ModelVersion> all = versions(name);
  if (all.empty()) {
    throw ConfigError("model registry " + directory_.string() + ": expected a model '" + name +
                      "', found none of that name; see muster model list");
  }
  if (which.empty()) return all.back();
  for (const ModelVersion& one : all) {
    const bool in_stage =
        std::find(one.stages.begin(), one.stages.end(), which) != one.stages.end();
    if (in_stage || std::to_string(one.version) == which) return one;
  }
  throw ConfigError("model registry " + directory_.string() + ": expected a version or stage '" +
                    which + "' of model '" + name + "', found versions 1 to " +
                    std::to_string(all.back().version) + "; see muster model list " + name);
}

void ModelRegistry::promote(const std::string& name, int version, const std::string& stage) const {
  check_stage(stage);
  get(name, std::to_string(version));
  const fs::path directory = stages_directory(directory_, name) / stage;
  with_file_errors("promoting model " + name, [&] {
    const std::string text = internal::promotion_text(version, internal::utc_text(env_->now()));
    if (create_once_) {
      prepare_store();
      internal::create_numbered(directory, kPromotionFile, text, create_once_, *env_);
      return;
    }
    internal::Incoming incoming(directory_ / "incoming", *env_);
    internal::write_file_durably(incoming.path() / kPromotionFile, text, *env_);
    env_->sync_directory(incoming.path());
    incoming.claim(directory);
  });
}

}  // namespace muster::checkpoint
