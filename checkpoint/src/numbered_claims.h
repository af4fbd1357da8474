// Numbered directories that many processes add to at once, each number given once and none left
// out.
#ifndef MUSTER_CHECKPOINT_SRC_NUMBERED_CLAIMS_H_
#define MUSTER_CHECKPOINT_SRC_NUMBERED_CLAIMS_H_

#include <filesystem>
#include <string>
#include <vector>

#include "muster/base/env.h"
#include "muster/checkpoint/model_registry.h"

namespace muster::checkpoint::internal {

/// "v00000012"
std::string claim_name(int number);

/// The numbers in `directory`, ascending; empty where it does not exist.
std::vector<int> claimed_numbers(const std::filesystem::path& directory, Env& env);

/// A name that no other process has, and that says whose it is, so that others can tell when no one
/// is left to finish what is called so.
std::string owned_name();

/// Whether `name` is the owned_name() of a process of this machine that is gone.
bool is_abandoned(const std::string& name);

/// A directory below `incoming` that is this process's alone, to be filled and then claimed. Gone
/// with its owner when it was not.
class Incoming {
 public:
  Incoming(const std::filesystem::path& incoming, Env& env);
  ~Incoming();
  Incoming(const Incoming&) = delete;
  Incoming& operator=(const Incoming&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Renames it, whose files are durable already, to the next number of `directory` and makes the
  /// name durable. Rename refuses to replace a directory that is not empty, so of two processes
  /// that want one number, one gets it and the other the next.
  int claim(const std::filesystem::path& directory);

 private:
  std::filesystem::path path_;
  Env* env_;
  bool claimed_ = false;
};

/// The same where nothing can be renamed: creates DIRECTORY/NUMBER/`file` for the next number,
/// which is returned.
int create_numbered(const std::filesystem::path& directory, const std::string& file,
                    const std::string& text, const CreateOnce& create_once, Env& env);

/// Removes what processes of this machine that are gone have left in `incoming`.
void remove_abandoned(const std::filesystem::path& incoming, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_NUMBERED_CLAIMS_H_
