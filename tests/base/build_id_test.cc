// The build id is the one that binutils read from the file.
#include "muster/base/build_id.h"

#include <gtest/gtest.h>

#include <array>
#include <cstdio>
#include <filesystem>

namespace muster {
namespace {

TEST(BuildId, IsTheProgramsOwn) {
  const std::string command =
      "readelf -n " + std::filesystem::read_symlink("/proc/self/exe").string() + " 2>&1";
  FILE* readelf = popen(command.c_str(), "r");
  ASSERT_NE(readelf, nullptr);
  std::string text;
  std::array<char, 4096> buffer{};
  while (const std::size_t got = fread(buffer.data(), 1, buffer.size(), readelf))
    text.append(buffer.data(), got);
  ASSERT_EQ(pclose(readelf), 0) << text;
  ASSERT_GE(own_build_id().size(), 16u);
  EXPECT_NE(text.find("Build ID: " + own_build_id() + "\n"), std::string::npos) << text;
}

}  // namespace
}  // namespace muster
