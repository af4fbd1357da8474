// The disk that checkpoints go to.
#include <fcntl.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>

#include "doctor/gather.h"
#include "file_descriptor.h"
#include "muster/base/error.h"

namespace muster::launcher::doctor {
namespace {

struct Kind {
  std::uint32_t magic;
  const char* name;
  bool in_memory;
  bool over_network;
};

// Of linux/magic.h and the filesystems' own headers.
constexpr std::array<Kind, 15> kKinds = {{{0x01021994, "tmpfs", true, false},
                                          {0x858458f6, "ramfs", true, false},
                                          {0xef53, "ext4", false, false},
                                          {0x58465342, "xfs", false, false},
                                          {0x9123683e, "btrfs", false, false},
                                          {0x2fc12fc1, "zfs", false, false},
                                          {0xf2f52010, "f2fs", false, false},
                                          {0x794c7630, "overlay", false, false},
                                          {0x6969, "nfs", false, true},
                                          {0xff534d42, "cifs", false, true},
                                          {0xfe534d42, "smb", false, true},
                                          {0x0bd00bd0, "lustre", false, true},
                                          {0x00c36400, "ceph", false, true},
                                          {0x19830326, "beegfs", false, true},
                                          {0x65735546, "fuse", false, true}}};

void name_filesystem(const std::string& directory, StorageFacts& facts) {
  struct statfs info {};
  if (statfs(directory.c_str(), &info) != 0) return;
  const auto magic = static_cast<std::uint32_t>(info.f_type);
  facts.filesystem = "type " + std::to_string(magic);
  for (const Kind& kind : kKinds) {
    if (kind.magic != magic) continue;
    facts.filesystem = kind.name;
    facts.in_memory = kind.in_memory;
    facts.over_network = kind.over_network;
  }
}

/// Writes and fsyncs; 0 when it cannot.
double write_speed(int fd) {
  constexpr std::size_t kChunkBytes = std::size_t{1} << 20;
  constexpr int kChunks = 64;
  const std::string chunk(kChunkBytes, 'm');
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < kChunks; ++i) {
    if (write(fd, chunk.data(), chunk.size()) != static_cast<ssize_t>(chunk.size())) return 0;
  }
  if (fsync(fd) != 0) return 0;
  const std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  return static_cast<double>(kChunkBytes) * kChunks / elapsed.count();
}

}  // namespace

StorageFacts gather_storage(const std::string& directory, bool measure) {
  StorageFacts facts;
  facts.path = directory;
  struct statvfs space {};
  if (statvfs(directory.c_str(), &space) != 0) {
    facts.error = errno_text(errno);
    return facts;
  }
  const auto block = static_cast<std::int64_t>(space.f_frsize);
  facts.total_bytes = static_cast<std::int64_t>(space.f_blocks) * block;
  facts.free_bytes = static_cast<std::int64_t>(space.f_bavail) * block;
  // Filesystems that make room for files as they come, such as btrfs, say 0 of 0.
  facts.free_files = space.f_files == 0 ? -1 : static_cast<std::int64_t>(space.f_favail);
  name_filesystem(directory, facts);

  std::string path = directory + "/.muster-doctor-XXXXXX";
  const FileDescriptor file(mkostemp(path.data(), O_CLOEXEC));
  if (!file.is_open()) {
    facts.error = "it cannot be written to: " + errno_text(errno);
    return facts;
  }
  facts.direct_io = FileDescriptor(open(path.c_str(), O_RDWR | O_DIRECT | O_CLOEXEC)).is_open();
  // The file has no name while it grows, so that nothing is left when this is killed.
  unlink(path.c_str());
  if (measure) facts.write_bytes_per_second = write_speed(file.get());
  return facts;
}

}  // namespace muster::launcher::doctor
