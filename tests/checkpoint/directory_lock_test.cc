// One process at a time changes a checkpoint directory, and a dead one is in nobody's way.
#include "muster/checkpoint/directory_lock.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>
#include <functional>
#include <optional>
#include <stdexcept>

#include "muster/base/error.h"
#include "muster/base/json.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using std::chrono::milliseconds;
using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr milliseconds kNoTime{0};

/// Why the lock is refused.
std::string refusal(const DirectoryLock& lock) {
  try {
    lock.require_held();
  } catch (const ConfigError& error) {
    return error.what();
  }
  return "";
}

/// A process that does its work, says so, and then waits to be killed.
class Holder {
 public:
  explicit Holder(const std::function<void()>& work) {
    int told[2];
    EXPECT_EQ(pipe(told), 0);
    pid_ = fork();
    if (pid_ < 0) throw std::runtime_error("fork failed");  // kill(-1) would be for everybody
    if (pid_ == 0) {
      alarm(60);  // should the test itself die
      work();
      [[maybe_unused]] const ssize_t written = write(told[1], "x", 1);
      while (true) pause();
    }
    close(told[1]);
    char word = 0;
    EXPECT_EQ(read(told[0], &word, 1), 1);
    close(told[0]);
  }
  ~Holder() {
    kill();
    int status = 0;
    waitpid(pid_, &status, 0);
  }
  Holder(const Holder&) = delete;
  Holder& operator=(const Holder&) = delete;

  void kill() const { ::kill(pid_, SIGKILL); }
  pid_t pid() const { return pid_; }

 private:
  pid_t pid_ = -1;
};

class DirectoryLockTest : public ::testing::Test {
 protected:
  TemporaryDirectory temporary_;
  std::filesystem::path directory_ = temporary_.path() / "run";
};

TEST_F(DirectoryLockTest, IsHeldByOneAndFreeOnceThatHasGone) {
  {
    DirectoryLock first(directory_);
    EXPECT_THAT(refusal(first), HasSubstr(directory_.string()));
    first.take();
    EXPECT_EQ(refusal(first), "");
    DirectoryLock second(directory_);
    EXPECT_FALSE(second.wait_for(kNoTime));
    EXPECT_THAT(refusal(second), HasSubstr("process " + std::to_string(getpid()) + " ("));
    const auto holder = read_lock_holder(directory_);
    ASSERT_TRUE(holder);
    EXPECT_EQ(holder->process, own_process_identity());
  }
  DirectoryLock third(directory_);
  EXPECT_TRUE(third.wait_for(kNoTime));
  EXPECT_EQ(refusal(third), "");
}

TEST_F(DirectoryLockTest, AKilledHolderFreesItAtOnce) {
  for (int i = 0; i < 20; ++i) {
    const Holder holder([&] { (new DirectoryLock(directory_))->take(); });
    DirectoryLock lock(directory_);
    ASSERT_FALSE(lock.wait_for(kNoTime));
    EXPECT_THAT(refusal(lock), AllOf(HasSubstr("process " + std::to_string(holder.pid())),
                                     HasSubstr(own_process_identity().host)));
    holder.kill();  // it may well be still dying
    lock.take();
    EXPECT_EQ(read_lock_holder(directory_)->process.pid, getpid());
  }
}

TEST_F(DirectoryLockTest, AChildThatOutlivesTheHolderIsSaidToHaveIt) {
  std::optional<Holder> child;
  {
    DirectoryLock lock(directory_);
    lock.take();
    child.emplace([] {});  // has the open file, too
  }
  // As if the process that took it had ended: it began at another time than whoever has its pid.
  const ProcessIdentity own = own_process_identity();
  std::ofstream(directory_ / kLockFile) << Json{{"pid", own.pid},
                                                {"program", "train"},
                                                {"host", "here"},
                                                {"start_ticks", own.start_ticks + 1},
                                                {"pid_namespace", own.pid_namespace},
                                                {"boot_id", own.boot_id}};
  DirectoryLock lock(directory_);
  EXPECT_FALSE(lock.wait_for(kNoTime));
  EXPECT_THAT(refusal(lock),
              AllOf(HasSubstr("(train) on host here, which has ended"), HasSubstr("has not")));
  child.reset();
  lock.take();
}

TEST_F(DirectoryLockTest, AHolderThatCannotBeReadIsStillOne) {
  DirectoryLock first(directory_);
  first.take();
  for (const char* text : {"", "{}", "[1", "{\"pid\": \"x\"}"}) {
    std::ofstream(directory_ / kLockFile) << text;
    EXPECT_FALSE(read_lock_holder(directory_)) << text;
    DirectoryLock second(directory_);
    EXPECT_FALSE(second.wait_for(kNoTime));
    EXPECT_THAT(refusal(second), HasSubstr("locked by another process")) << text;
  }
}

// As on a full disk: no file may grow.
TEST_F(DirectoryLockTest, IsHeldWhereItsFileCannotBeWritten) {
  const pid_t pid = fork();
  ASSERT_GE(pid, 0);
  if (pid == 0) {
    signal(SIGXFSZ, SIG_IGN);
    const rlimit none{0, 0};
    setrlimit(RLIMIT_FSIZE, &none);
    DirectoryLock lock(directory_);
    const bool held = lock.wait_for(kNoTime) && refusal(lock).empty();
    _exit(held ? 0 : 1);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_TRUE(WIFEXITED(status) && WEXITSTATUS(status) == 0) << status;
}

TEST_F(DirectoryLockTest, ADirectoryThatCannotBeIsNamed) {
  std::ofstream(directory_) << "in the way";
  try {
    DirectoryLock lock(directory_);
    FAIL() << "no error";
  } catch (const CheckpointError& error) {
    EXPECT_THAT(error.what(), HasSubstr("checkpoint directory " + directory_.string()));
  }
}

TEST(LockPatience, IsLongerWithAnotherMachineWhichMayBeLost) {
  const ProcessIdentity own = own_process_identity();
  LockHolder holder{own, "train"};
  EXPECT_EQ(internal::patience_with(holder, own), std::chrono::seconds(5));
  EXPECT_EQ(internal::patience_with(std::nullopt, own), std::chrono::seconds(5));
  holder.process.boot_id = "another";
  EXPECT_EQ(internal::patience_with(holder, own), std::chrono::minutes(2));
}

}  // namespace
}  // namespace muster::checkpoint
