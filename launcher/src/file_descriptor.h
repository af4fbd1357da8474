// A file descriptor with one owner.
#ifndef MUSTER_LAUNCHER_FILE_DESCRIPTOR_H_
#define MUSTER_LAUNCHER_FILE_DESCRIPTOR_H_

#include <unistd.h>

#include <utility>

namespace muster::launcher {

/// Closes its descriptor when it goes. Movable.
class FileDescriptor {
 public:
  FileDescriptor() = default;
  explicit FileDescriptor(int fd) : fd_(fd) {}
  FileDescriptor(FileDescriptor&& other) noexcept : fd_(other.release()) {}
  FileDescriptor& operator=(FileDescriptor&& other) noexcept {
    if (this != &other) reset(other.release());
    return *this;
  }
  ~FileDescriptor() { reset(); }

  int get() const { return fd_; }
  bool is_open() const { return fd_ >= 0; }
  int release() { return std::exchange(fd_, -1); }
  void reset(int fd = -1) {
    if (fd_ >= 0) close(fd_);
    fd_ = fd;
  }

 private:
  int fd_ = -1;
};

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FILE_DESCRIPTOR_H_
