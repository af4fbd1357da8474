// Models worth a name: numbered versions of checkpoints, where they come from, and which of them is
// in use.
#ifndef MUSTER_CHECKPOINT_MODEL_REGISTRY_H_
#define MUSTER_CHECKPOINT_MODEL_REGISTRY_H_

#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::checkpoint {

inline constexpr int kRegistryFormatVersion = 1;

/// What whoever registers a model says of it.
struct Registration {
  std::string run{};                        ///< Where it was trained; any text.
  std::string parent{};                     ///< "NAME@VERSION" that it was made from, or "".
  std::map<std::string, double> metrics{};  ///< Finite numbers.
};

struct ModelVersion {
  std::string name;
  int version = 0;                    ///< From 1.
  std::filesystem::path directory{};  ///< Holds version.json and, on disk, checkpoint/.
  std::string upload{};               ///< In a store, the name of what was uploaded; else "".
  std::string digest{};               ///< The checkpoint's state hash.
  std::int64_t step = 0;
  std::string registered_at{};  ///< "2026-01-31T23:59:59Z"
  Registration registration{};
  std::vector<std::string> stages{};  ///< That it is in now, sorted.

  /// Where the checkpoint lies.
  std::filesystem::path checkpoint() const;
};

/// Makes `text` the whole content of the file `path`, durably, unless something is there already:
/// then false. Of all calls for one path, from anywhere, one returns true. Blocks. Throws
/// FileError; the file may then be there or not.
using CreateOnce = std::function<bool(const std::filesystem::path& path, const std::string& text)>;

/// A plain directory (docs/model_registry.md has its bytes), used by any number of processes of any
/// number of machines at once, without locks: what is written appears whole by one rename that
/// cannot replace anything, and is never changed. A process that dies leaves nothing that a reader
/// sees, and no gap.
///
/// Or a prefix of an object store, where nothing can be renamed: there a checkpoint is uploaded
/// first, and the record that names it, which is created by a CreateOnce, makes it a version.
///
/// All calls block. Any thread. Names of models and stages are letters, digits, '-', '_' and '.'
/// (not first), at most 100; a stage is no number. All throw CheckpointError naming the path, or
/// ConfigError for what the caller got wrong: such a name, a model, version or stage that is not
/// there.
class ModelRegistry {
 public:
  /// Touches nothing. `env` must outlive the registry.
  ModelRegistry(std::filesystem::path directory, Env& env);
  /// One where nothing can be renamed.
  ModelRegistry(std::filesystem::path directory, Env& env, CreateOnce create_once);

  const std::filesystem::path& directory() const { return directory_; }

  /// Copies `checkpoint`, which `from` reads, into the registry, reads back and checks every byte
  /// of the copy, and makes it the next version of `name`. When this returns the version survives a
  /// power cut.
  ModelVersion add(const Checkpoint& checkpoint, Env& from, const std::string& name,
                   const Registration& registration) const;

  /// Sorted; empty where there is no registry.
  std::vector<std::string> names() const;
  /// All versions of a model, by number.
  std::vector<ModelVersion> versions(const std::string& name) const;
  /// `which` is a number, a stage, or "" for the newest version.
  ModelVersion get(const std::string& name, const std::string& which = "") const;

  /// Makes `version` the one that is in `stage`, in the place of another.
  void promote(const std::string& name, int version, const std::string& stage) const;

 private:
  ModelVersion read_version(const std::string& name, int version) const;
  std::map<std::string, int> stages_of(const std::string& name) const;
  void prepare() const;
  void prepare_store() const;
  void place(const Checkpoint& checkpoint, Env& from, ModelVersion& version) const;
  void place_in_store(const Checkpoint& checkpoint, Env& from, ModelVersion& version) const;
  void remove_unnamed(const std::string& name, const std::vector<std::string>& uploads) const;

  std::filesystem::path directory_;
  Env* env_;
  CreateOnce create_once_;  // empty on disk
};

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_MODEL_REGISTRY_H_
