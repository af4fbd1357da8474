// Every call of the checkpoint store to the outside world has a name; at any of them the process
// can be killed, or the file system lose its power.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_CRASH_POINTS_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_CRASH_POINTS_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "muster/base/env.h"

namespace muster::testing {

/// "rename attempt" at its second time, before the call or half-way through a write.
struct CrashPoint {
  std::string name;
  int occurrence = 1;
  bool half_way = false;
};

enum class Blow {
  kOneProcess,  ///< SIGKILL of this process.
  kAll,         ///< SIGKILL of its process group.
  kPowerCut,    ///< The file system loses what it has not made durable, then SIGKILL of the group.
};

/// Shuts the file system of `directory` down as a power cut does: nothing more reaches the device.
/// Needs root. Throws FileError.
void cut_power(const std::filesystem::path& directory);

/// The real environment with names. Any thread.
class CrashPointEnv : public Env {
 public:
  CrashPointEnv(std::filesystem::path directory, std::optional<CrashPoint> point, Blow blow);

  std::unique_ptr<WritableFile> create_file(const std::filesystem::path& path) override;
  std::unique_ptr<WritableFile> create_large_file(const std::filesystem::path& path,
                                                  std::uint64_t bytes) override;
  std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& path) override;
  std::unique_ptr<ReadableFile> open_large_file(const std::filesystem::path& path) override;
  void create_directories(const std::filesystem::path& path) override;
  void sync_directory(const std::filesystem::path& path) override;
  void rename(const std::filesystem::path& from, const std::filesystem::path& to) override;
  void remove_all(const std::filesystem::path& path) override;
  std::vector<std::string> list_directory(const std::filesystem::path& path) override;
  bool exists(const std::filesystem::path& path) override;
  std::chrono::system_clock::time_point now() override { return real_->now(); }

  /// How often each point was passed.
  std::map<std::string, int> passed() const;

  /// Counts the point; the blow falls here when it is the chosen one. Returns whether it is to fall
  /// half-way.
  bool pass(const std::string& operation, const std::filesystem::path& path);
  [[noreturn]] void strike() const;

 private:
  std::string name_of(const std::filesystem::path& path) const;

  const std::unique_ptr<Env> real_ = make_system_env();
  const std::filesystem::path directory_;
  const std::optional<CrashPoint> point_;
  const Blow blow_;
  mutable std::mutex mutex_;
  std::map<std::string, int> passed_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_CRASH_POINTS_H_
