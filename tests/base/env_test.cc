// The real files behind Env, and the errors the kernel gives.
#include "muster/base/env.h"

#include <gtest/gtest.h>
#include <stdlib.h>

#include <cerrno>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

namespace muster {
namespace {

namespace fs = std::filesystem;

class SystemEnvTest : public testing::Test {
 protected:
  SystemEnvTest() {
    std::string pattern = (fs::temp_directory_path() / "muster-env-test-XXXXXX").string();
    if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp " + pattern);
    directory_ = pattern;
  }
  ~SystemEnvTest() override { fs::remove_all(directory_); }

  void write(const fs::path& path, const std::string& text) {
    const auto file = env_->create_file(path);
    file->write_at(0, text.data(), text.size());
    file->close();
  }

  /// Expects a FileError with this errno and path; its text holds both.
  template <typename Body>
  void expect_file_error(int errno_value, const char* errno_name, const fs::path& path, Body body) {
    try {
      body();
      ADD_FAILURE() << "no error for " << path;
    } catch (const FileError& e) {
      EXPECT_EQ(e.errno_value(), errno_value) << e.what();
      EXPECT_EQ(e.path(), path);
      EXPECT_NE(std::string(e.what()).find(path.string()), std::string::npos) << e.what();
      EXPECT_NE(std::string(e.what()).find(errno_name), std::string::npos) << e.what();
    }
  }

  std::unique_ptr<Env> env_ = make_system_env();
  fs::path directory_;
};

TEST_F(SystemEnvTest, WritesAtOffsetsAndReadsBack) {
  const fs::path path = directory_ / "file";
  const auto out = env_->create_file(path);
  out->write_at(6, "world", 5);
  out->write_at(0, "hello ", 6);
  out->sync();
  out->close();
  const auto in = env_->open_file(path);
  EXPECT_EQ(in->size_bytes(), 11u);
  char text[32] = {};
  EXPECT_EQ(in->read_at(6, text, sizeof(text)), 5u);
  EXPECT_STREQ(text, "world");
  EXPECT_EQ(in->read_at(11, text, sizeof(text)), 0u);
  EXPECT_EQ(env_->read_text(path), "hello world");
}

TEST_F(SystemEnvTest, CreateTruncates) {
  write(directory_ / "file", "a long text");
  write(directory_ / "file", "short");
  EXPECT_EQ(env_->read_text(directory_ / "file"), "short");
}

TEST_F(SystemEnvTest, ReadTextOfAnySize) {
  for (const std::size_t bytes : {0, 1, 4095, 4096, 4097, 100000}) {
    const std::string text(bytes, 'x');
    write(directory_ / "file", text);
    EXPECT_EQ(env_->read_text(directory_ / "file"), text) << bytes;
  }
  EXPECT_NE(env_->read_text("/proc/self/status"), "") << "a file whose size is given as 0";
}

TEST_F(SystemEnvTest, RenameReplaces) {
  write(directory_ / "new", "new");
  write(directory_ / "old", "old");
  env_->rename(directory_ / "new", directory_ / "old");
  EXPECT_EQ(env_->read_text(directory_ / "old"), "new");
  EXPECT_FALSE(env_->exists(directory_ / "new"));
}

TEST_F(SystemEnvTest, DirectoriesAreMadeListedSyncedAndRemoved) {
  const fs::path deep = directory_ / "a" / "b" / "c";
  env_->create_directories(deep);
  env_->create_directories(deep);
  write(deep / "2", "");
  write(deep / "10", "");
  env_->sync_directory(deep);
  EXPECT_EQ(env_->list_directory(deep), (std::vector<std::string>{"10", "2"}));
  env_->remove_all(directory_ / "a");
  EXPECT_FALSE(env_->exists(directory_ / "a"));
  env_->remove_all(directory_ / "a");
}

TEST_F(SystemEnvTest, TextIsReplacedAtomicallyAndLeavesNoTemporary) {
  const fs::path path = directory_ / "state.json";
  env_->write_text_atomically(path, "one");
  // A reader that holds the old file keeps all of it.
  const auto reader = env_->open_file(path);
  env_->write_text_atomically(path, "two, longer");
  char text[16] = {};
  EXPECT_EQ(reader->read_at(0, text, sizeof(text)), 3u);
  EXPECT_STREQ(text, "one");
  EXPECT_EQ(env_->read_text(path), "two, longer");
  EXPECT_EQ(env_->list_directory(directory_), std::vector<std::string>{"state.json"});
}

TEST_F(SystemEnvTest, FailedAtomicWriteKeepsTheOldAndLeavesNoTemporary) {
  const fs::path path = directory_ / "state";
  env_->create_directories(path /
                           "inside");  // a directory that is not empty cannot be replaced by a file
  EXPECT_THROW(env_->write_text_atomically(path, "text"), FileError);
  EXPECT_EQ(env_->list_directory(directory_), std::vector<std::string>{"state"});
  EXPECT_TRUE(env_->exists(path / "inside"));
}

TEST_F(SystemEnvTest, MissingDirectory) {
  const fs::path path = directory_ / "none" / "file";
  expect_file_error(ENOENT, "ENOENT", path, [&] { env_->create_file(path); });
  expect_file_error(ENOENT, "ENOENT", path, [&] { env_->open_file(path); });
  expect_file_error(ENOENT, "ENOENT", path, [&] { env_->rename(path, directory_ / "x"); });
  expect_file_error(ENOENT, "ENOENT", path, [&] { env_->list_directory(path); });
  expect_file_error(ENOENT, "ENOENT", path, [&] { env_->sync_directory(path); });
  EXPECT_FALSE(env_->exists(path));
}

TEST_F(SystemEnvTest, DirectoryInPlaceOfAFileAndFileInPlaceOfADirectory) {
  expect_file_error(EISDIR, "EISDIR", directory_, [&] { env_->create_file(directory_); });
  expect_file_error(EISDIR, "EISDIR", directory_, [&] { env_->open_file(directory_); });
  const fs::path file = directory_ / "file";
  write(file, "text");
  expect_file_error(ENOTDIR, "ENOTDIR", file, [&] { env_->list_directory(file); });
  expect_file_error(ENOTDIR, "ENOTDIR", file, [&] { env_->create_directories(file); });
  EXPECT_FALSE(env_->exists(file / "below"));
}

// /proc takes no new file, not even from root.
TEST_F(SystemEnvTest, ProcIsNoPlaceForFiles) {
  expect_file_error(ENOENT, "ENOENT", "/proc/muster", [&] { env_->create_file("/proc/muster"); });
  expect_file_error(ENOENT, "ENOENT", "/proc/muster",
                    [&] { env_->create_directories("/proc/muster"); });
}

TEST_F(SystemEnvTest, FullDeviceGivesEnospc) {
  const auto file = env_->create_file("/dev/full");
  expect_file_error(ENOSPC, "ENOSPC", "/dev/full", [&] { file->write_at(0, "x", 1); });
}

TEST_F(SystemEnvTest, SecondCloseIsAnError) {
  const auto file = env_->create_file(directory_ / "file");
  file->close();
  expect_file_error(EBADF, "EBADF", directory_ / "file", [&] { file->close(); });
}

TEST_F(SystemEnvTest, ClockGoesForward) {
  const auto first = env_->now();
  EXPECT_GE(env_->now(), first);
}

}  // namespace
}  // namespace muster
