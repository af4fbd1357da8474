// Output: every byte in the log, rank 0's mirrored, whatever the reader does.
#include <fcntl.h>
#include <gmock/gmock.h>
#include <pty.h>
#include <unistd.h>

#include <csignal>
#include <fstream>
#include <mutex>
#include <thread>

#include "launcher/muster_process.h"
#include "launcher/rank_program.h"

namespace muster::launcher::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::size_t kMegabyte = 1 << 20;

struct Pipe {
  Pipe() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) std::abort();
    reading.reset(ends[0]);
    writing.reset(ends[1]);
  }
  FileDescriptor reading;
  FileDescriptor writing;
};

std::string read_to_end(int fd) {
  std::string text;
  char buffer[65536];
  for (ssize_t bytes; (bytes = read(fd, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<std::size_t>(bytes));
  }
  return text;
}

class OutputTest : public MusterRunTest {};

TEST_F(OutputTest, AMegabyteOfAnyBytesArrivesWhole) {
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"bytes=1048576"}));
  EXPECT_EQ(muster.wait(), 0);
  const std::string expected = pattern_bytes(kMegabyte);
  EXPECT_TRUE(muster.output() == expected) << muster.output().size() << " bytes";
  EXPECT_TRUE(log(0, 0) == expected) << log(0, 0).size() << " bytes";
  EXPECT_TRUE(log(0, 1) == expected) << log(0, 1).size() << " bytes";
}

TEST_F(OutputTest, StandardErrorIsMirroredToStandardError) {
  MusterProcess muster(directory_,
                       run_words({"--quiet", "-n", "2"}, {"print=to output", "error=to error"}));
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_EQ(muster.output(), "to output\n");
  EXPECT_EQ(muster.error(), "to error\n");
  EXPECT_THAT(log(0, 1), HasSubstr("to output\n"));
  EXPECT_THAT(log(0, 1), HasSubstr("to error\n"));
}

TEST_F(OutputTest, ALineWithoutItsEndDoesNotSwallowOurs) {
  MusterProcess muster(directory_, {"run", "--", "sh", "-c", "printf unfinished >&2"});
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(), HasSubstr("unfinished\nmuster: done"));
}

TEST_F(OutputTest, AReaderThatSleepsHoldsNobodyUpAndGetsAll) {
  Pipe pipe;
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "bytes=1048576", "done"}),
                       {pipe.writing.get(), -1});
  pipe.writing.reset();
  ASSERT_TRUE(wait_for_state("done")) << "the job must end while nobody reads";
  EXPECT_TRUE(read_to_end(pipe.reading.get()) == pattern_bytes(kMegabyte));
  EXPECT_EQ(muster.wait(), 0);
}

TEST_F(OutputTest, ADeadReaderEndsNothing) {
  Pipe pipe;
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "bytes=1048576", "done"}),
                       {pipe.writing.get(), -1});
  pipe.writing.reset();
  pipe.reading.reset();
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(), HasSubstr("nobody reads standard output any more"));
  EXPECT_TRUE(log(0, 0) == pattern_bytes(kMegabyte));
}

TEST_F(OutputTest, AFullDiskCostsTheLogAndNotTheJob) {
  const std::filesystem::path folder = directory_.path() / "logs" / "generation-000";
  std::filesystem::create_directories(folder);
  std::filesystem::create_symlink("/dev/full", folder / "rank-0.log");
  MusterProcess muster(directory_, run_words({"-n", "2"}, {"hello", "bytes=1048576", "done"}));
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_TRUE(muster.output() == pattern_bytes(kMegabyte)) << muster.output().size() << " bytes";
  EXPECT_THAT(muster.error(), HasSubstr("the output of rank 0 is not kept from here on"));
  EXPECT_THAT(muster.error(), HasSubstr("No space left on device"));
  EXPECT_TRUE(log(0, 1) == pattern_bytes(kMegabyte));
}

TEST_F(OutputTest, WhatNeitherLogNorReaderTakesIsCounted) {
  const std::filesystem::path folder = directory_.path() / "logs" / "generation-000";
  std::filesystem::create_directories(folder);
  std::filesystem::create_symlink("/dev/full", folder / "rank-0.log");
  Pipe pipe;
  MusterProcess muster(directory_, run_words({}, {"hello", "bytes=16777216", "done"}),
                       {pipe.writing.get(), -1});
  pipe.writing.reset();
  ASSERT_TRUE(wait_for_state("done")) << "the job must end while nobody reads";
  const std::string seen = read_to_end(pipe.reading.get());
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_TRUE(seen == pattern_bytes(16 * kMegabyte).substr(0, seen.size()));
  EXPECT_THAT(muster.error(),
              HasSubstr("muster: " + std::to_string(16 * kMegabyte - seen.size()) + " bytes"));
}

TEST_F(OutputTest, WithoutATerminalProgressIsLines) {
  MusterProcess muster(directory_,
                       run_words({"-n", "2"}, {"hello", "rank=0", "progress=1/3", "progress=2/3",
                                               "progress=3/3", "always", "done"}));
  EXPECT_EQ(muster.wait(), 0);
  EXPECT_THAT(muster.error(),
              HasSubstr("muster: step 1/3  loss 0.5  1.0k samples/s  2 ranks  gen 0\n"));
  EXPECT_THAT(muster.error(), Not(HasSubstr("step 2/3"))) << "a line every few seconds";
  EXPECT_THAT(muster.error(), HasSubstr("step 3/3"));
  EXPECT_THAT(muster.error(), Not(HasSubstr("\x1b")));
}

TEST_F(OutputTest, OnATerminalTheBarIsErasedAroundOutput) {
  int master = -1, terminal = -1;
  winsize size{24, 120, 0, 0};
  ASSERT_EQ(openpty(&master, &terminal, nullptr, nullptr, &size), 0);
  const FileDescriptor reading(master);
  FileDescriptor writing(terminal);
  std::mutex mutex;
  std::string all_seen;
  std::thread reader([&] {
    char buffer[4096];
    for (ssize_t bytes; (bytes = read(reading.get(), buffer, sizeof buffer)) > 0;) {
      const std::lock_guard<std::mutex> lock(mutex);
      all_seen.append(buffer, static_cast<std::size_t>(bytes));
    }
  });
  const auto seen_so_far = [&] {
    const std::lock_guard<std::mutex> lock(mutex);
    return all_seen;
  };
  const std::filesystem::path go = directory_.path() / "go";
  MusterProcess muster(directory_,
                       run_words({}, {"hello", "progress=1/2", "await=" + go.string(),
                                      "print=between", "progress=2/2", "done"}),
                       {writing.get(), writing.get()});
  EXPECT_TRUE(eventually([&] { return seen_so_far().find("50%  step 1/2") != std::string::npos; }));
  std::ofstream(go).close();
  const int code = muster.wait();
  writing.reset();
  reader.join();
  const std::string seen = seen_so_far();
  EXPECT_EQ(code, 0);
  EXPECT_THAT(seen, ::testing::HasSubstr("\r\x1b[2Kbetween\r\n")) << "a line of its own: " << seen;
  EXPECT_THAT(seen, HasSubstr("\r\x1b[2Kmuster: done"));
}

TEST_F(OutputTest, ClosedStandardDescriptorsDoNoHarm) {
  const std::string command = std::string(MUSTER_BIN_DIR) + "/muster run --log-dir " +
                              (directory_.path() / "logs").string() + " -- echo hi <&- >&- 2>&-";
  EXPECT_EQ(system(command.c_str()), 0);
  EXPECT_EQ(log(0, 0), "hi\n");
}

}  // namespace
}  // namespace muster::launcher::testing
