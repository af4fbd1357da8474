// A directory for one test's files, removed with the object.
#ifndef MUSTER_TESTS_DATA_LOADER_TEMPORARY_DIRECTORY_H_
#define MUSTER_TESTS_DATA_LOADER_TEMPORARY_DIRECTORY_H_

#include <stdlib.h>

#include <cstdio>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <string>

namespace muster {

class TemporaryDirectory {
 public:
  TemporaryDirectory() {
    std::string name = (std::filesystem::temp_directory_path() / "muster_test_XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed: " + name);
    path_ = name;
  }
  ~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryDirectory(const TemporaryDirectory&) = delete;
  TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Writes `content` to `name` in the directory, anew.
  std::filesystem::path write(const std::string& name, const std::string& content) const {
    std::ofstream(path_ / name, std::ios::binary | std::ios::trunc) << content;
    return path_ / name;
  }

 private:
  std::filesystem::path path_;
};

}  // namespace muster

#endif  // MUSTER_TESTS_DATA_LOADER_TEMPORARY_DIRECTORY_H_
