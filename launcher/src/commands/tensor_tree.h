// Tensors of a file or checkpoint as a tree of their dotted names.
#ifndef MUSTER_LAUNCHER_COMMANDS_TENSOR_TREE_H_
#define MUSTER_LAUNCHER_COMMANDS_TENSOR_TREE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/dtype.h"
#include "muster/base/json.h"
#include "muster/checkpoint/elements.h"

namespace muster::launcher {

struct TensorFacts {
  std::string name;
  DType dtype = DType::kFloat32;
  std::vector<std::int64_t> shape;
  std::int64_t bytes = 0;
  checkpoint::Statistics statistics;
};

Json to_json(const TensorFacts& tensor);

/// A line for each tensor, indented below a line for each part of its name that others share.
/// `tensors` by name.
std::string tensor_tree_text(const std::vector<TensorFacts>& tensors);

/// "[3, 4]"
std::string shape_text(const std::vector<std::int64_t>& shape);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_COMMANDS_TENSOR_TREE_H_
