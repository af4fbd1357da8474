// Who may change a checkpoint directory: one process at a time.
#ifndef MUSTER_CHECKPOINT_DIRECTORY_LOCK_H_
#define MUSTER_CHECKPOINT_DIRECTORY_LOCK_H_

#include <chrono>
#include <filesystem>
#include <optional>
#include <string>

#include "muster/base/process_identity.h"

namespace muster::checkpoint {

/// A file in a checkpoint directory that is never removed: it is what is locked, and its text says
/// by whom.
inline constexpr const char* kLockFile = ".lock";

/// Who wrote the lock's file last.
struct LockHolder {
  ProcessIdentity process;
  std::string program;

  /// "process 4711 (char_gpt) on host a"
  std::string description() const;
};

/// A lock of an open file (fcntl(2), F_OFD_SETLK): the kernel frees it when the process ends,
/// however that is, so nothing dead is ever in the way. Between hosts it holds where the file
/// system keeps locks for all of them (NFS, Lustre and GPFS unless mounted without); a host that is
/// lost frees its locks when the server has given it up. Where there are no locks at all, a warning
/// says so once and none is held. Not for object stores.
///
/// Who is refused may have come while a dying process still had it, so the lock is waited for: see
/// patience_with(). One thread.
class DirectoryLock {
 public:
  /// Creates the directory and the lock's file; takes nothing yet. Throws CheckpointError.
  explicit DirectoryLock(std::filesystem::path directory);
  ~DirectoryLock();
  DirectoryLock(const DirectoryLock&) = delete;
  DirectoryLock& operator=(const DirectoryLock&) = delete;

  /// Takes the lock, which then is held until this object goes; waits for it at most `time`.
  /// Returns whether there is no more to wait for: it is held, or the patience with its holder is
  /// over. Throws CheckpointError where it cannot be taken at all.
  bool wait_for(std::chrono::milliseconds time);
  /// Throws ConfigError that names the holder where the lock is not held.
  void require_held() const;

  /// Both, however long that takes: for tools.
  void take();

 private:
  bool try_lock();
  void write_holder() const;
  std::string found() const;  // who has it

  std::filesystem::path directory_;
  int fd_ = -1;
  bool held_ = false;
  bool told_ = false;
  std::chrono::steady_clock::time_point asked_;
};

/// What stands in the lock's file; nothing where that cannot be read or understood.
std::optional<LockHolder> read_lock_holder(const std::filesystem::path& directory);

namespace internal {
/// How long to wait for a lock that `holder` has: 5 seconds, in which a killed process dies; for
/// one of another machine, which may be lost, 2 minutes, in which its server gives it up.
std::chrono::milliseconds patience_with(const std::optional<LockHolder>& holder,
                                        const ProcessIdentity& own);
}  // namespace internal

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_DIRECTORY_LOCK_H_
