// Uploads of a registry.
#include "registry_uploads.h"

#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/transfer.h"
#include "numbered_claims.h"

namespace muster::checkpoint::internal {
namespace fs = std::filesystem;

bool is_upload_name(const std::string& name) {
  return !name.empty() && name.front() != '.' && name.find('/') == std::string::npos;
}

Upload::Upload(const fs::path& uploads, Env& env)
    : name_(owned_name()), path_(uploads / name_), env_(&env) {}

Upload::~Upload() {
  if (kept_) return;
  try {
    remove_checkpoint(path_, *env_);
  } catch (const Error& error) {
    MUSTER_LOG(WARNING) << "an unfinished upload stays behind: " << error.what();
  }
}

std::vector<std::string> ownerless_uploads(const fs::path& uploads, Env& env) {
  std::vector<std::string> names;
  if (!env.exists(uploads)) return names;
  for (std::string& name : env.list_directory(uploads)) {
    if (is_abandoned(name)) names.push_back(std::move(name));
  }
  return names;
}

}  // namespace muster::checkpoint::internal
