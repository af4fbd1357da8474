// Arguments in which ranks can disagree, for every operation.
#ifndef MUSTER_TESTS_COLLECTIVES_DISAGREEMENTS_H_
#define MUSTER_TESTS_COLLECTIVES_DISAGREEMENTS_H_

#include <cstdint>
#include <string>
#include <vector>

#include "collectives/every_operation.h"

namespace muster::testing {

/// Rank 0 calls an operation, rank 1 the same (or its answer) with another argument.
struct Disagreement {
  std::string title;
  Call other;
  std::string said_first;  ///< Of rank 0's call, by both.
  std::string said_second;
};

inline std::string elements(std::int64_t numel) { return std::to_string(numel) + " elements"; }

inline std::vector<Disagreement> disagreements(const AnyOperation& operation, const Call& call,
                                               int world_size) {
  std::vector<Disagreement> all;
  if (!operation.has_numel()) return all;
  const auto add = [&](const char* title, const std::string& first, const std::string& second) {
    return &all.emplace_back(Disagreement{title, call, first, second}).other;
  };
  add("dtype", "Float", "Double")->dtype = at::kDouble;
  if (operation.has_counts()) {
    const bool agreed = operation.name == "all_gather";
    add("counts", agreed ? elements(world_size * call.numel) : "gives " + elements(call.numel),
        agreed ? elements(world_size * call.numel + 1)
               : "expects " + std::to_string(call.numel + 1))
        ->more_of_last = 1;
  } else {
    const std::int64_t slices = operation.name == "all_to_all" ? world_size : 1;
    const std::string said = elements(slices * call.numel);
    add("numel", said, elements(slices * (call.numel + 1)))->numel += 1;
    add("way", said, elements(slices * call.numel * 5000))->numel *= 5000;
  }
  if (operation.has_root()) add("root", "root 0", "root 1")->root = 1;
  if (operation.has_reduce_op()) add("reduce op", "(sum, ", "(max, ")->op = ReduceOp::kMax;
  if (operation.is_canonical()) {
    add("logical ranks", std::to_string(world_size) + " logical ranks",
        std::to_string(world_size + 2) + " logical ranks")
        ->more_logical_ranks = 2;
  }
  return all;
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_DISAGREEMENTS_H_
