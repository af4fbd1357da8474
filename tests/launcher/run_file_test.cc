// run.json when the disk does not take it, and when a run ends by an error of the launcher.
#include "run_file.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <fstream>

#include "launcher/muster_process.h"

namespace muster::launcher::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class RunFileTest : public MusterRunTest {
 protected:
  RunFileTest() { fs::create_directories(temporary_.parent_path()); }

  const fs::path temporary_ = directory_.path() / "logs" / "run.json.new";
};

TEST_F(RunFileTest, AFailedWriteSaysWhyAndLeavesNothing) {
  const RunFile file(directory_.path() / "logs" / "run.json");
  fs::create_directory(file.path());
  EXPECT_FALSE(file.write({}));
  EXPECT_EQ(errno, EISDIR);
  EXPECT_FALSE(fs::exists(temporary_));
}

TEST_F(RunFileTest, AFullDiskForAMomentEndsNothing) {
  fs::create_symlink("/dev/full", temporary_);
  MusterProcess muster(directory_, run_words({}, {"hello", "progress=1/1", "done"}));
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(), HasSubstr("No space left on device"));
  EXPECT_EQ(status()["state"], "done");
  EXPECT_EQ(status()["step"], 1);
}

TEST_F(RunFileTest, FailuresInARowAreToldOnce) {
  const fs::path free = directory_.path() / "free";
  const fs::path full = directory_.path() / "full";
  const auto times_told = [](const std::string& text) {
    const std::string message = "cannot write";
    int times = 0;
    for (std::size_t at = text.find(message); at != std::string::npos; ++times)
      at = text.find(message, at + 1);
    return times;
  };
  fs::create_directory(temporary_);
  MusterProcess muster(directory_, run_words({}, {"hello", "await=" + free.string(), "progress=1/3",
                                                  "await=" + full.string(), "progress=2/3",
                                                  "progress=3/3", "done"}));
  ASSERT_TRUE(eventually([&] { return times_told(muster.error()) == 1; }));
  fs::remove(temporary_);
  std::ofstream(free).close();
  ASSERT_TRUE(eventually([&] { return status().is_object() && status()["step"] == 1; }));
  fs::create_directory(temporary_);
  std::ofstream(full).close();
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_EQ(times_told(muster.error()), 2) << muster.error();
}

TEST_F(RunFileTest, AnErrorOfTheLauncherIsAnEnd) {
  const fs::path program = directory_.path() / "program";
  std::ofstream(program) << "#!/bin/sh\nrm " << program.string() << "\nkill -9 $$\n";
  fs::permissions(program, fs::perms::owner_all);
  MusterProcess muster(directory_,
                       {"run", "--log-dir", temporary_.parent_path(), "--", program.string()});
  EXPECT_EQ(muster.wait(), 64);
  EXPECT_THAT(muster.error(), HasSubstr("there is no such file"));
  EXPECT_EQ(status()["state"], "failed");
  EXPECT_EQ(status()["exit_code"], 64);
  EXPECT_EQ(status()["generation"], 1);
}

}  // namespace
}  // namespace muster::launcher::testing
