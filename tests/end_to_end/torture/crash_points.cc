// Names by what is done and to what.
#include "crash_points.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <cerrno>
#include <utility>

namespace muster::testing {
namespace fs = std::filesystem;

namespace {

// EXT4_IOC_SHUTDOWN and XFS_IOC_GOINGDOWN are one number; 2: the log is not flushed first.
constexpr unsigned long kShutDown = _IOR('X', 125, std::uint32_t);
constexpr std::uint32_t kWithoutLogFlush = 2;

// Direct I/O takes whole blocks.
constexpr std::size_t kBlockBytes = 4096;

std::string name_of_directory(const std::string& name) {
  if (name.ends_with(".damaged")) return "damaged";
  for (const char* kind : {"attempt", "replaced", "retired"}) {
    if (name.starts_with("." + std::string(kind) + "-")) return kind;
  }
  return name.starts_with("step-") ? "checkpoint" : name;
}

class CrashingFile : public WritableFile {
 public:
  CrashingFile(CrashPointEnv& env, fs::path path, std::unique_ptr<WritableFile> real)
      : env_(env), path_(std::move(path)), real_(std::move(real)) {}

  std::string not_direct_because() const override { return real_->not_direct_because(); }
  void write_at(std::uint64_t offset, const void* data, std::size_t bytes) override {
    if (env_.pass("write", path_)) {
      const std::size_t half = bytes / 2;
      real_->write_at(offset, data, bytes < kBlockBytes ? half : half / kBlockBytes * kBlockBytes);
      env_.strike();
    }
    real_->write_at(offset, data, bytes);
  }
  void sync() override {
    env_.pass("sync", path_);
    real_->sync();
  }
  void close() override {
    env_.pass("close", path_);
    real_->close();
  }

 private:
  CrashPointEnv& env_;
  fs::path path_;
  std::unique_ptr<WritableFile> real_;
};

}  // namespace

void cut_power(const fs::path& directory) {
  const int fd = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) throw FileError("open directory", directory, errno);
  std::uint32_t how = kWithoutLogFlush;
  const int result = ioctl(fd, kShutDown, &how);
  const int error = errno;
  close(fd);
  if (result != 0) throw FileError("shut down the file system of", directory, error);
}

CrashPointEnv::CrashPointEnv(fs::path directory, std::optional<CrashPoint> point, Blow blow)
    : directory_(std::move(directory)), point_(std::move(point)), blow_(blow) {}

std::string CrashPointEnv::name_of(const fs::path& path) const {
  const fs::path relative = path.lexically_relative(directory_);
  if (relative == ".") return "store";
  if (relative.empty() || *relative.begin() == "..") return "parent";
  std::string name = name_of_directory(relative.begin()->string());
  if (relative.begin()->string() == relative.string()) return name;
  const std::string file = path.filename().string();
  return name + (file.starts_with("rank-") ? "/shard" : "/" + path.stem().string());
}

bool CrashPointEnv::pass(const std::string& operation, const fs::path& path) {
  const std::string name = operation + " " + name_of(path);
  const std::lock_guard lock(mutex_);
  const int occurrence = ++passed_[name];
  if (!point_ || point_->name != name || point_->occurrence != occurrence) return false;
  if (point_->half_way) return true;
  strike();
}

void CrashPointEnv::strike() const {
  if (blow_ == Blow::kPowerCut) cut_power(directory_);
  kill(blow_ == Blow::kOneProcess ? getpid() : 0, SIGKILL);
  while (true) pause();
}

std::map<std::string, int> CrashPointEnv::passed() const {
  const std::lock_guard lock(mutex_);
  return passed_;
}

std::unique_ptr<WritableFile> CrashPointEnv::create_file(const fs::path& path) {
  pass("create", path);
  return std::make_unique<CrashingFile>(*this, path, real_->create_file(path));
}

std::unique_ptr<WritableFile> CrashPointEnv::create_large_file(const fs::path& path,
                                                               std::uint64_t bytes) {
  pass("create", path);
  return std::make_unique<CrashingFile>(*this, path, real_->create_large_file(path, bytes));
}

std::unique_ptr<ReadableFile> CrashPointEnv::open_file(const fs::path& path) {
  pass("open", path);
  return real_->open_file(path);
}

std::unique_ptr<ReadableFile> CrashPointEnv::open_large_file(const fs::path& path) {
  pass("open", path);
  return real_->open_large_file(path);
}

void CrashPointEnv::create_directories(const fs::path& path) {
  pass("create-directory", path);
  real_->create_directories(path);
}

void CrashPointEnv::sync_directory(const fs::path& path) {
  pass("sync-directory", path);
  real_->sync_directory(path);
}

void CrashPointEnv::rename(const fs::path& from, const fs::path& to) {
  pass("rename", from);
  real_->rename(from, to);
}

void CrashPointEnv::remove_all(const fs::path& path) {
  pass("remove", path);
  real_->remove_all(path);
}

std::vector<std::string> CrashPointEnv::list_directory(const fs::path& path) {
  pass("list", path);
  return real_->list_directory(path);
}

bool CrashPointEnv::exists(const fs::path& path) {
  pass("look-for", path);
  return real_->exists(path);
}

}  // namespace muster::testing
