// Whole rows, and what sticks out before and after them.
#include "flat_boxes.h"

#include <algorithm>

namespace muster::checkpoint::internal {

std::int64_t Box::numel() const {
  std::int64_t numel = 1;
  for (const std::int64_t one : count) numel *= one;
  return numel;
}

namespace {

/// The largest box that starts at `begin`: of the outermost dimension of which whole rows fit.
Box largest_box(std::int64_t begin, std::int64_t end, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> row(shape.size());  // elements of one step in each dimension
  std::int64_t numel = 1;
  for (std::size_t d = shape.size(); d-- > 0; numel *= shape[d]) row[d] = numel;
  std::size_t outer = 0;
  while (begin % row[outer] != 0 || end - begin < row[outer]) ++outer;  // row of the last: 1
  Box box;
  for (std::size_t d = 0; d < shape.size(); ++d) {
    box.start.push_back(begin / row[d] % shape[d]);
    box.count.push_back(d < outer ? 1 : shape[d]);
  }
  box.count[outer] = std::min(shape[outer] - box.start[outer], (end - begin) / row[outer]);
  return box;
}

}  // namespace

std::vector<Box> boxes_of(std::int64_t begin, std::int64_t end,
                          const std::vector<std::int64_t>& shape) {
  std::vector<Box> boxes;
  while (begin < end) {
    boxes.push_back(largest_box(begin, end, shape));
    begin += boxes.back().numel();
  }
  return boxes;
}

}  // namespace muster::checkpoint::internal
