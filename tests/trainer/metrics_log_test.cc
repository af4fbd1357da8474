// The metrics file is cut back to the step that a resume begins at, whatever a kill left in it.
#include "metrics_log.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(MetricsLog, LinesUpToAStepStopAtTheFirstLaterOrBrokenLine) {
  const std::string text = "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"test\":1}\n{\"step\":3}\n";
  EXPECT_EQ(lines_up_to_step(text, 0), "");
  EXPECT_EQ(lines_up_to_step(text, 1), "{\"step\":1}\n");
  EXPECT_EQ(lines_up_to_step(text, 2), "{\"step\":1}\n{\"step\":2}\n{\"step\":2,\"test\":1}\n");
  EXPECT_EQ(lines_up_to_step(text, 9), text);
  EXPECT_EQ(lines_up_to_step("{\"step\":1}\n{\"ste", 9), "{\"step\":1}\n");
  EXPECT_EQ(lines_up_to_step("{\"step\":1}\nnonsense\n{\"step\":2}\n", 9), "{\"step\":1}\n");
  EXPECT_EQ(lines_up_to_step("", 9), "");
}

TEST(MetricsLog, ReopeningAtAStepRepeatsNothing) {
  const fs::path path = fs::path(testing::TempDir()) / "metrics_log_test.jsonl";
  fs::remove(path);
  {
    MetricsLog log(path, 0);
    for (int step = 1; step <= 5; ++step) log.append({{"step", step}, {"loss", 1.0 / step}});
  }
  const std::string whole = read(path);
  {
    MetricsLog log(path, 3);
    for (int step = 4; step <= 5; ++step) log.append({{"step", step}, {"loss", 1.0 / step}});
  }
  EXPECT_EQ(read(path), whole);
  fs::remove(path);
}

TEST(MetricsLog, AnUnwritablePathIsACheckpointError) {
  EXPECT_THROW(MetricsLog("/proc/metrics.jsonl", 0), CheckpointError);
}

}  // namespace
}  // namespace muster::internal
