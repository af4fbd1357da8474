// Log lines as they reach standard error, each case in a process of its own since glog is
// process-wide.
#include "muster/base/log.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace muster {
namespace {

/// What `body` writes to standard error in a forked process.
std::string stderr_of(const std::function<void()>& body) {
  int ends[2];
  if (pipe(ends) != 0) throw std::runtime_error("pipe");
  const pid_t pid = fork();
  if (pid == 0) {
    alarm(10);
    dup2(ends[1], STDERR_FILENO);
    close(ends[0]);
    close(ends[1]);
    body();
    _exit(0);
  }
  close(ends[1]);
  std::string text;
  char buffer[4096];
  for (ssize_t got; (got = read(ends[0], buffer, sizeof(buffer))) > 0;) text.append(buffer, got);
  close(ends[0]);
  int status = 0;
  waitpid(pid, &status, 0);
  EXPECT_EQ(status, 0);
  return text;
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

bool ends_with(const std::string& text, const std::string& end) {
  return text.size() >= end.size() && text.compare(text.size() - end.size(), end.size(), end) == 0;
}

TEST(Log, LineHoldsLevelPlacePrefixAndMessage) {
  const auto lines = lines_of(stderr_of([] {
    init_logging("log_test", "rank 1/4 gen 2");
    MUSTER_LOG(INFO) << "step " << 7;
    MUSTER_LOG(WARNING) << "slow";
    MUSTER_LOG(ERROR) << "lost";
  }));
  ASSERT_EQ(lines.size(), 3u);
  EXPECT_EQ(lines[0].front(), 'I');
  EXPECT_EQ(lines[1].front(), 'W');
  EXPECT_EQ(lines[2].front(), 'E');
  EXPECT_NE(lines[0].find("log_test.cc:"), std::string::npos) << lines[0];
  EXPECT_TRUE(ends_with(lines[0], "] [rank 1/4 gen 2] step 7")) << lines[0];
  EXPECT_TRUE(ends_with(lines[2], "] [rank 1/4 gen 2] lost")) << lines[2];
}

TEST(Log, LinesBelowTheMinimumAreDropped) {
  const auto lines = lines_of(stderr_of([] {
    init_logging("log_test", "", LogLevel::WARNING);
    MUSTER_LOG(INFO) << "hidden";
    MUSTER_LOG(WARNING) << "shown";
  }));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(ends_with(lines[0], "] shown")) << lines[0];
}

TEST(Log, SecondInitChangesThePrefix) {
  const auto lines = lines_of(stderr_of([] {
    init_logging("log_test", "rank 0/2 gen 0");
    init_logging("log_test", "rank 0/2 gen 1");
    MUSTER_LOG(INFO) << "x";
  }));
  ASSERT_EQ(lines.size(), 1u);
  EXPECT_TRUE(ends_with(lines[0], "[rank 0/2 gen 1] x")) << lines[0];
}

TEST(Log, GoesToStandardErrorBeforeInitToo) {
  const std::string text = stderr_of([] { MUSTER_LOG(ERROR) << "early"; });
  EXPECT_NE(text.find("] early\n"), std::string::npos) << text;
}

TEST(Log, LinesOfThreadsDoNotInterleave) {
  constexpr int kThreads = 4;
  constexpr int kLines = 100;
  const std::string body(200, 'x');
  const auto lines = lines_of(stderr_of([&] {
    init_logging("log_test", "p");
    std::vector<std::thread> threads;
    for (int t = 0; t < kThreads; ++t) {
      threads.emplace_back([&] {
        for (int i = 0; i < kLines; ++i) MUSTER_LOG(INFO) << body;
      });
    }
    for (std::thread& thread : threads) thread.join();
  }));
  EXPECT_EQ(lines.size(), static_cast<std::size_t>(kThreads * kLines));
  for (const std::string& line : lines) EXPECT_TRUE(ends_with(line, "] [p] " + body)) << line;
}

}  // namespace
}  // namespace muster
