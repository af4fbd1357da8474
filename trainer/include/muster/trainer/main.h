// main() of a training program: flags, rank environment, world, training, exit code.
#ifndef MUSTER_TRAINER_MAIN_H_
#define MUSTER_TRAINER_MAIN_H_

#include <functional>
#include <memory>

#include "muster/trainer/trainer.h"

namespace muster {

namespace internal {
using TrainerFactory = std::function<std::unique_ptr<Trainer>()>;
int run_main(int argc, const char* const* argv, const TrainerFactory& make_trainer);
}  // namespace internal

/// Runs the Trainer `T` under muster run, mpirun or alone, and returns the process's exit code
/// (docs/failure_model.md). Errors become one message; nothing is thrown.
///     int main(int argc, char** argv) { return muster::main<MyTrainer>(argc, argv); }
template <typename T>
int main(int argc, const char* const* argv) {
  return internal::run_main(argc, argv, [] { return std::make_unique<T>(); });
}

}  // namespace muster

#endif  // MUSTER_TRAINER_MAIN_H_
