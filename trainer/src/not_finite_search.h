// Where the first number that is not finite comes from: a forward pass is run once more and
// watched.
#ifndef MUSTER_TRAINER_SRC_NOT_FINITE_SEARCH_H_
#define MUSTER_TRAINER_SRC_NOT_FINITE_SEARCH_H_

#include <functional>
#include <string>

#include "muster/data_loader/batch.h"

namespace torch::nn {
class Module;
}

namespace muster::internal {

/// Runs `forward` on this thread and says what is the first of these that is not finite: a tensor
/// of the batch, a parameter, the output of an operation that has NaN, or that is infinite where
/// what went in (an infinite mask, say) was not. LibTorch does not tell when a C++ module runs, so
/// an operation's module is the one whose parameters it reads, or that were read last. Throws
/// nothing that `forward` throws.
std::string find_not_finite(const torch::nn::Module& module, const Batch& batch,
                            const std::function<void()>& forward);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_NOT_FINITE_SEARCH_H_
