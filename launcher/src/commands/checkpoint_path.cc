// Paths to checkpoints. CheckpointStore would do for the listing, but it can write too, and so
// loads HDF5 and all that HDF5 needs: fifteen milliseconds for every `muster --help`.
#include "commands/checkpoint_path.h"

#include <algorithm>
#include <cstdio>
#include <optional>
#include <utility>

#include "commands/sibling_program.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/read_errors.h"

namespace muster::launcher {
namespace {

// A damaged one may have lost its manifest and is still known by its name.
bool is_checkpoint(const std::filesystem::path& path, Env& env) {
  const std::filesystem::path named = path.has_filename() ? path : path.parent_path();
  return env.exists(path / checkpoint::kManifestFile) ||
         checkpoint::step_of_directory_name(named.filename().string()).has_value();
}

// By step, not by name: past eight digits the two differ.
std::vector<std::filesystem::path> list_checkpoints(const std::string& directory, Env& env) {
  std::vector<std::pair<std::int64_t, std::filesystem::path>> found;
  for (const std::string& name : env.list_directory(directory)) {
    const auto step = checkpoint::step_of_directory_name(name);
    if (step) found.emplace_back(*step, std::filesystem::path(directory) / name);
  }
  std::sort(found.begin(), found.end());
  std::vector<std::filesystem::path> paths;
  for (auto& [step, path] : found) paths.push_back(std::move(path));
  return paths;
}

/// Nothing where one was deleted meanwhile: then there may be newer ones.
std::optional<checkpoint::Checkpoint> open_newest_of(const std::vector<std::filesystem::path>& all,
                                                     Env& env) {
  for (auto one = all.rbegin();; ++one) {
    try {
      return checkpoint::Checkpoint::open(*one, env);
    } catch (const checkpoint::Undecided&) {  // it may be sound
      throw;
    } catch (const CheckpointError& e) {
      if (!env.exists(*one)) return std::nullopt;
      if (one + 1 == all.rend()) throw;
      if (is_unfinished(*one, env)) {
        std::fprintf(stderr, "skipped, since it is being uploaded or deleted: %s\n", one->c_str());
      } else {
        std::fprintf(stderr, "skipped, since it is damaged: %s\n", e.what());
      }
    }
  }
}

}  // namespace

std::vector<std::filesystem::path> checkpoints_at(const std::string& path,
                                                  const std::string& command, Env& env) {
  const std::string expected =
      "muster " + command + ": expected a checkpoint, or a directory with step-NNNNNNNN in it; ";
  if (!env.exists(path)) {
    throw ConfigError(expected + "found no '" + path + "'; check the path");
  }
  if (is_checkpoint(path, env)) return {path};
  try {
    std::vector<std::filesystem::path> found = list_checkpoints(path, env);
    if (!found.empty()) return found;
  } catch (const FileError& e) {
    throw ConfigError(expected + "found: " + e.what());
  }
  throw ConfigError(expected + "found none in '" + path + "'; check the path");
}

checkpoint::Checkpoint open_newest_at(const std::string& path, const std::string& command,
                                      Env& env) {
  for (int choices = 1; choices <= kMostChoices; ++choices) {
    auto newest = open_newest_of(checkpoints_at(path, command, env), env);
    if (newest) return *std::move(newest);
  }
  throw CheckpointError("muster " + command +
                        ": expected a checkpoint that stays, found that those in " + path +
                        " are deleted as fast as they are looked at; try again");
}

int with_newest_at(const std::string& path, const std::string& command, Env& env,
                   const std::function<int(const checkpoint::Checkpoint&)>& work) {
  for (int choices = 1;; ++choices) {
    const checkpoint::Checkpoint chosen = open_newest_at(path, command, env);
    try {
      return work(chosen);
    } catch (const CheckpointError&) {
      const bool named = chosen.directory() == path;
      if (named || choices == kMostChoices) throw;
      if (env.exists(chosen.directory() / checkpoint::kManifestFile)) throw;
    }
  }
}

bool is_unfinished(const std::filesystem::path& path, Env& env) {
  return is_store_url(path.string()) && !env.exists(path / checkpoint::kManifestFile);
}

bool is_safetensors_path(const std::string& path) { return path.ends_with(".safetensors"); }

}  // namespace muster::launcher
