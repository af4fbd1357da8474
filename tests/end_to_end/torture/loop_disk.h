// A file system of its own, on a loop device: to be shut down, filled and made read-only.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_LOOP_DISK_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_LOOP_DISK_H_

#include <filesystem>
#include <string>

namespace muster::testing {

/// Mounts are made in a mount namespace that this process gives itself at the first disk, so they
/// go with it however it ends.
class Disk {
 public:
  /// "ext4" or "xfs" on a loop device; "tmpfs" or "ramfs" (which refuses direct I/O and knows no
  /// size) without one. `megabytes` of 2^20 bytes; xfs takes no fewer than 300. Call missing()
  /// first.
  Disk(std::string file_system, int megabytes, std::filesystem::path scratch);
  ~Disk();
  Disk(const Disk&) = delete;
  Disk& operator=(const Disk&) = delete;

  /// What this machine does not permit or lack for such a disk, as a sentence; empty when it can be
  /// made.
  static std::string missing(const std::string& file_system);

  const std::filesystem::path& path() const { return mount_point_; }
  /// After a power cut: what the device holds, mounted anew.
  void mount_again();
  void make_read_only(bool read_only);

 private:
  bool has_device() const { return needs_device(file_system_); }
  static bool needs_device(const std::string& file_system);
  void mount();
  void unmount();

  std::string file_system_;
  int megabytes_;
  std::filesystem::path image_;
  std::filesystem::path mount_point_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_LOOP_DISK_H_
