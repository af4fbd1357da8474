// Claims by rename.
#include "numbered_claims.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <cstdio>
#include <optional>
#include <sstream>

#include "durable_files.h"
#include "muster/base/log.h"
#include "muster/base/process_identity.h"

namespace muster::checkpoint::internal {
namespace fs = std::filesystem;

namespace {

constexpr std::size_t kDigits = 8;

std::optional<int> number_of(const std::string& name) {
  if (name.size() != kDigits + 1) return std::nullopt;
  int number = 0;
  const auto [end, error] = std::from_chars(name.data() + 1, name.data() + name.size(), number);
  if (error != std::errc() || end != name.data() + name.size() || number < 1) return std::nullopt;
  if (claim_name(number) != name) return std::nullopt;
  return number;
}

}  // namespace

std::string owned_name() {
  static std::atomic<int> count = 0;
  const ProcessIdentity own = own_process_identity();
  return std::to_string(own.pid) + "_" + std::to_string(own.start_ticks) + "_" +
         std::to_string(own.pid_namespace) + "_" + own.boot_id + "_" + std::to_string(count++);
}

bool is_abandoned(const std::string& name) {
  std::istringstream text(name);
  ProcessIdentity owner;
  char underscore = 0;
  text >> owner.pid >> underscore >> owner.start_ticks >> underscore >> owner.pid_namespace >>
      underscore;
  if (!text || !std::getline(text, owner.boot_id, '_')) return false;
  return process_state(owner) == ProcessState::kGone;
}

std::string claim_name(int number) {
  char name[16];
  std::snprintf(name, sizeof(name), "v%08d", number);
  return name;
}

std::vector<int> claimed_numbers(const fs::path& directory, Env& env) {
  std::vector<int> numbers;
  if (!env.exists(directory)) return numbers;
  for (const std::string& name : env.list_directory(directory)) {
    if (const auto number = number_of(name)) numbers.push_back(*number);
  }
  std::sort(numbers.begin(), numbers.end());
  return numbers;
}

Incoming::Incoming(const fs::path& incoming, Env& env)
    : path_(incoming / owned_name()), env_(&env) {
  env.create_directories(path_);
}

Incoming::~Incoming() {
  if (claimed_) return;
  try {
    env_->remove_all(path_);
  } catch (const FileError& error) {
    MUSTER_LOG(WARNING) << "an unfinished entry of the registry stays behind: " << error.what();
  }
}

int Incoming::claim(const fs::path& directory) {
  create_directories_durably(directory, *env_);
  const std::vector<int> taken = claimed_numbers(directory, *env_);
  for (int number = taken.empty() ? 1 : taken.back() + 1;; ++number) {
    try {
      env_->rename(path_, directory / claim_name(number));
    } catch (const FileError& error) {
      if (error.errno_value() != EEXIST && error.errno_value() != ENOTEMPTY) throw;
      continue;
    }
    claimed_ = true;
    env_->sync_directory(directory);
    return number;
  }
}

int create_numbered(const fs::path& directory, const std::string& file, const std::string& text,
                    const CreateOnce& create_once, Env& env) {
  const std::vector<int> taken = claimed_numbers(directory, env);
  int number = taken.empty() ? 1 : taken.back() + 1;
  while (!create_once(directory / claim_name(number) / file, text)) ++number;
  return number;
}

void remove_abandoned(const fs::path& incoming, Env& env) {
  try {
    if (!env.exists(incoming)) return;
    for (const std::string& name : env.list_directory(incoming)) {
      if (is_abandoned(name)) env.remove_all(incoming / name);
    }
  } catch (const FileError& error) {  // another process may be removing the same
    MUSTER_LOG(WARNING) << "an abandoned entry of the registry stays behind: " << error.what();
  }
}

}  // namespace muster::checkpoint::internal
