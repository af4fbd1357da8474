// Comparison of two checkpoints, by bits and by numbers, whatever world sizes wrote them.
#ifndef MUSTER_CHECKPOINT_DIFF_H_
#define MUSTER_CHECKPOINT_DIFF_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/elements.h"

namespace muster::checkpoint {

/// The numbers are part of tools' output and never change.
enum class DifferenceKind : int {
  kOnlyInFirst = 1,
  kOnlyInSecond = 2,
  kDtype = 3,
  kShape = 4,
  kBits = 5,
};

struct TensorDifference {
  std::string tensor;
  DifferenceKind kind = DifferenceKind::kBits;
  std::int64_t differing_elements = 0;  ///< For kBits, else 0.
  std::int64_t first_element = 0;  ///< For kBits: flat index of the first that differs, else 0.
  Distance distance{};             ///< For kBits.
  std::string message{};           ///< One line: what is different.
};

struct DiffResult {
  std::vector<TensorDifference> tensors;  ///< In name order.
  std::vector<std::string>
      progress;  ///< One line for each key of run_state["progress"] that differs.
  std::int64_t compared_tensors = 0;  ///< Tensors that both have.

  /// True exactly when the two state hashes are equal.
  bool equal() const { return tensors.empty() && progress.empty(); }
};

/// Reads all tensors that both have. Blocks. Throws CheckpointError when either is damaged.
DiffResult diff(const Checkpoint& first, const Checkpoint& second);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_DIFF_H_
