// The test program is its own rank: with --rank-program it does what the words after it say.
#include <gtest/gtest.h>

#include <cstdio>
#include <exception>
#include <string>

#include "launcher/rank_program.h"

int main(int argc, char** argv) {
  using namespace muster::launcher::testing;
  if (argc > 1 && std::string(argv[1]) == kRankProgramFlag) {
    try {
      return rank_program({argv + 2, argv + argc});
    } catch (const std::exception& e) {
      std::fprintf(stderr, "rank program: %s\n", e.what());
      return 96;
    }
  }
  testing::InitGoogleTest(&argc, argv);
  return RUN_ALL_TESTS();
}
