// Opens a checkpoint with an installed Muster and prints its state hash.
#include <iostream>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint.h"

int main(int argc, char** argv) try {
  if (argc != 2) {
    std::cerr << "usage: reader CHECKPOINT\n";
    return 64;
  }
  const auto env = muster::make_system_env();
  std::cout << muster::checkpoint::Checkpoint::open(argv[1], *env).state_hash() << "\n";
  return 0;
} catch (const muster::Error& error) {
  std::cerr << error.what() << "\n";
  return static_cast<int>(error.exit_code());
}
