// A lock that dies with its holder, and a text that says who that is.
#include "muster/checkpoint/directory_lock.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <mutex>
#include <thread>
#include <utility>

#include "durable_files.h"
#include "file_errors.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/base/log.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using Clock = std::chrono::steady_clock;

// The kernel can wait for a lock, but not with a deadline.
constexpr std::chrono::milliseconds kBetweenTries{20};
// A wait is spoken of when it is longer.
constexpr std::chrono::milliseconds kSilence{500};

std::string trouble_with(const fs::path& directory) {
  return "checkpoint directory " + directory.string() + " cannot be used";
}

bool means_no_locks(int errno_value) {
  return errno_value == ENOLCK || errno_value == ENOSYS || errno_value == EOPNOTSUPP ||
         errno_value == EINVAL;
}

void tell_no_locks(const fs::path& directory, int errno_value) {
  static std::once_flag told;
  std::call_once(told, [&] {
    MUSTER_LOG(WARNING) << directory.string() << " is on a file system without locks ("
                        << errno_text(errno_value)
                        << "): nothing stops two runs that use it at once";
  });
}

Json to_json(const LockHolder& holder) {
  return {{"pid", holder.process.pid},
          {"program", holder.program},
          {"host", holder.process.host},
          {"start_ticks", holder.process.start_ticks},
          {"pid_namespace", holder.process.pid_namespace},
          {"boot_id", holder.process.boot_id}};
}

}  // namespace

std::string LockHolder::description() const {
  return "process " + std::to_string(process.pid) + " (" + program + ") on host " + process.host;
}

std::optional<LockHolder> read_lock_holder(const fs::path& directory) {
  try {
    const fs::path path = directory / kLockFile;
    const std::string origin = path.string();
    const Json json = parse_json(make_system_env()->read_text(path), origin);
    LockHolder holder;
    holder.process.pid = json_field<std::int64_t>(json, "pid", origin);
    holder.process.host = json_field<std::string>(json, "host", origin);
    holder.process.start_ticks = json_field<std::uint64_t>(json, "start_ticks", origin);
    holder.process.pid_namespace = json_field<std::uint64_t>(json, "pid_namespace", origin);
    holder.process.boot_id = json_field<std::string>(json, "boot_id", origin);
    holder.program = json_field<std::string>(json, "program", origin);
    return holder;
  } catch (const FileError&) {
  } catch (const Error&) {
  }
  return std::nullopt;
}

std::chrono::milliseconds internal::patience_with(const std::optional<LockHolder>& holder,
                                                  const ProcessIdentity& own) {
  const bool elsewhere = holder && holder->process.boot_id != own.boot_id;
  return elsewhere ? std::chrono::minutes(2) : std::chrono::seconds(5);
}

DirectoryLock::DirectoryLock(fs::path directory)
    : directory_(std::move(directory)), asked_(Clock::now()) {
  internal::with_file_errors(trouble_with(directory_), [&] {
    internal::create_directories_durably(directory_, *make_system_env());
    const fs::path path = directory_ / kLockFile;
    do {
      fd_ = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666);
    } while (fd_ < 0 && errno == EINTR);
    if (fd_ < 0) throw FileError("open", path, errno);
  });
}

DirectoryLock::~DirectoryLock() { close(fd_); }

bool DirectoryLock::try_lock() {
  struct flock whole {};
  whole.l_type = F_WRLCK;
  whole.l_whence = SEEK_SET;
  if (fcntl(fd_, F_OFD_SETLK, &whole) == 0) {
    write_holder();
    return true;
  }
  if (errno == EAGAIN || errno == EACCES || errno == EINTR) return false;
  const FileError error("lock", directory_ / kLockFile, errno);
  if (!means_no_locks(error.errno_value()))
    throw CheckpointError(internal::describe_file_error(trouble_with(directory_), error));
  tell_no_locks(directory_, error.errno_value());
  return true;
}

// Whoever is refused in between reads an empty file and does not know the name. No more is lost
// where the disk is full, which is no reason to refuse a run: saves may be allowed to fail.
void DirectoryLock::write_holder() const {
  const std::string text = to_json({own_process_identity(), program_invocation_short_name})
                               .dump(-1, ' ', true, Json::error_handler_t::replace) +
                           "\n";
  ssize_t written = ftruncate(fd_, 0);
  if (written == 0) written = pwrite(fd_, text.data(), text.size(), 0);
  if (written == static_cast<ssize_t>(text.size())) return;
  if (written >= 0) errno = ENOSPC;  // a part
  MUSTER_LOG(WARNING) << (directory_ / kLockFile).string()
                      << " is locked, but cannot say by whom: " << errno_text(errno);
}

bool DirectoryLock::wait_for(std::chrono::milliseconds time) {
  const Clock::time_point until = Clock::now() + time;
  while (!held_) {
    held_ = try_lock();
    if (held_) break;
    const auto patience =
        internal::patience_with(read_lock_holder(directory_), own_process_identity());
    const Clock::time_point now = Clock::now();
    if (now - asked_ >= patience) return true;
    if (now >= until) break;
    if (!told_ && now - asked_ >= kSilence) {
      told_ = true;
      MUSTER_LOG(INFO) << directory_.string() << " is " << found() << "; waiting for up to "
                       << patience.count() / 1000 << " s";
    }
    std::this_thread::sleep_for(std::min<Clock::duration>(kBetweenTries, until - now));
  }
  return held_;
}

std::string DirectoryLock::found() const {
  const auto holder = read_lock_holder(directory_);
  if (!holder) return "locked by another process";
  std::string text = "locked by " + holder->description();
  if (process_state(holder->process) == ProcessState::kGone)
    text += ", which has ended, but a process that it began has not";
  return text;
}

void DirectoryLock::require_held() const {
  if (held_) return;
  throw ConfigError("checkpoint directory " + directory_.string() +
                    ": expected no other process to change it, found it " + found() +
                    "; wait until that one has ended, or end it, or use another directory");
}

void DirectoryLock::take() {
  while (!wait_for(std::chrono::seconds(1))) {
  }
  require_held();
}

}  // namespace muster::checkpoint
