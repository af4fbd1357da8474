// mkfs and mount, by their programs.
#include "loop_disk.h"

#include <sched.h>
#include <sys/mount.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <stdexcept>
#include <thread>
#include <utility>

#include "muster/base/error.h"

namespace muster::testing {
namespace fs = std::filesystem;

namespace {

int run(const std::string& command) { return std::system((command + " > /dev/null 2>&1").c_str()); }

void must_run(const std::string& command) {
  if (run(command) != 0) throw std::runtime_error("expected '" + command + "' to work");
}

/// True when this process has mounts of its own.
bool own_mounts() {
  static const bool own = unshare(CLONE_NEWNS) == 0 &&
                          ::mount(nullptr, "/", nullptr, MS_REC | MS_PRIVATE, nullptr) == 0;
  return own;
}

}  // namespace

std::string Disk::missing(const std::string& file_system) {
  if (geteuid() != 0) return "root, to mount a " + file_system + " file system";
  if (!own_mounts()) return "the right to mount (CAP_SYS_ADMIN)";
  if (!needs_device(file_system)) return "";
  if (run("command -v mkfs." + file_system) != 0) return "mkfs." + file_system;
  if (run("losetup --find") != 0) return "a free loop device";
  return "";
}

bool Disk::needs_device(const std::string& file_system) {
  return file_system != "tmpfs" && file_system != "ramfs";
}

Disk::Disk(std::string file_system, int megabytes, fs::path scratch)
    : file_system_(std::move(file_system)),
      megabytes_(megabytes),
      image_(scratch / (file_system_ + ".image")),
      mount_point_(scratch / file_system_) {
  fs::create_directories(mount_point_);
  if (has_device()) {
    must_run("truncate -s " + std::to_string(megabytes_) + "M " + image_.string());
    must_run("mkfs." + file_system_ + " -q " + image_.string());
  }
  mount();
}

Disk::~Disk() { umount2(mount_point_.c_str(), MNT_DETACH); }

void Disk::mount() {
  const std::string options = has_device() ? "loop" : "size=" + std::to_string(megabytes_) + "m";
  const std::string what = has_device() ? image_.string() : file_system_;
  must_run("mount -t " + file_system_ + " -o " + options + " " + what + " " +
           mount_point_.string());
}

void Disk::unmount() {
  // A process that was just killed may still be letting go of its files.
  const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (umount2(mount_point_.c_str(), 0) != 0) {
    if (errno != EBUSY || std::chrono::steady_clock::now() > deadline) {
      throw std::runtime_error("cannot unmount " + mount_point_.string() + ": " +
                               errno_text(errno));
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
}

void Disk::mount_again() {
  unmount();
  mount();
}

void Disk::make_read_only(bool read_only) {
  must_run(std::string("mount -o remount,") + (read_only ? "ro " : "rw ") + mount_point_.string());
}

}  // namespace muster::testing
