// The registry's directories.
#include "muster/checkpoint/model_registry.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "durable_files.h"
#include "file_errors.h"
#include "muster/base/error.h"
#include "numbered_claims.h"
#include "registry_records.h"

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

void copy_file(const fs::path& from, const fs::path& to, Env& env) {
  constexpr std::size_t kPieceBytes = 4 << 20;
  const auto source = env.open_file(from);
  const auto target = env.create_file(to);
  std::vector<std::byte> piece(kPieceBytes);
  std::uint64_t at = 0;
  while (const std::size_t bytes = source->read_at(at, piece.data(), piece.size())) {
    target->write_at(at, piece.data(), bytes);
    at += bytes;
  }
  target->sync();
  target->close();
}

/// Copies the files that the manifest names, and checks the copy. Returns its state hash.
std::string copy_checkpoint(const Checkpoint& checkpoint, const fs::path& target, Env& env) {
  env.create_directories(target);
  copy_file(checkpoint.directory() / kManifestFile, target / kManifestFile, env);
  for (const ManifestFile& file : checkpoint.manifest().files)
    copy_file(checkpoint.directory() / file.file, target / file.file, env);
  env.sync_directory(target);
  const Checkpoint copy = Checkpoint::open(target, env);
  const std::vector<Problem> problems = copy.verify();
  if (problems.empty()) return copy.state_hash();
  throw CheckpointError(
      checkpoint.directory().string() +
      ": expected a checkpoint all of whose bytes are right, found in its copy: " +
      problems.front().message + "; see muster verify");
}

}  // namespace

ModelRegistry::ModelRegistry(fs::path directory, Env& env)
    : directory_(directory.has_filename() ? std::move(directory) : directory.parent_path()),
      env_(&env) {}

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

ModelVersion ModelRegistry::add(const Checkpoint& checkpoint, const std::string& name,
                                const Registration& registration) const {
  check_name("model", name);
  ModelVersion version{.name = name,
                       .step = checkpoint.manifest().step,
                       .registered_at = internal::utc_text(env_->now()),
                       .registration = registration};
  internal::version_text(version);  // throws before anything is copied
  with_file_errors("registering model " + name, [&] {
    prepare();
    internal::Incoming incoming(directory_ / "incoming", *env_);
    version.digest = copy_checkpoint(checkpoint, incoming.path() / "checkpoint", *env_);
    internal::write_file_durably(incoming.path() / kVersionFile, internal::version_text(version),
                                 *env_);
    env_->sync_directory(incoming.path());
    version.version = incoming.claim(versions_directory(directory_, name));
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
  with_file_errors("promoting model " + name, [&] {
    internal::Incoming incoming(directory_ / "incoming", *env_);
    internal::write_file_durably(incoming.path() / kPromotionFile,
                                 internal::promotion_text(version, internal::utc_text(env_->now())),
                                 *env_);
    env_->sync_directory(incoming.path());
    incoming.claim(stages_directory(directory_, name) / stage);
  });
}

}  // namespace muster::checkpoint
