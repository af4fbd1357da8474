// Boxes of every range of small shapes hold its elements in order.
#include "flat_boxes.h"

#include <gtest/gtest.h>

#include <numeric>

namespace muster::checkpoint::internal {
namespace {

/// The flat elements of a box in row-major order.
std::vector<std::int64_t> elements_of(const Box& box, const std::vector<std::int64_t>& shape) {
  std::vector<std::int64_t> elements = {0};
  for (std::size_t d = 0; d < shape.size(); ++d) {
    std::vector<std::int64_t> next;
    for (const std::int64_t before : elements) {
      for (std::int64_t i = 0; i < box.count[d]; ++i)
        next.push_back(before * shape[d] + box.start[d] + i);
    }
    elements = next;
  }
  return elements;
}

TEST(FlatBoxes, HoldTheElementsOfEveryRangeInOrder) {
  for (const std::vector<std::int64_t>& shape :
       {std::vector<std::int64_t>{7}, {1}, {3, 4}, {5, 1}, {1, 5}, {2, 3, 4}, {3, 1, 2, 3}}) {
    const std::int64_t numel =
        std::accumulate(shape.begin(), shape.end(), std::int64_t{1}, std::multiplies<>());
    for (std::int64_t begin = 0; begin <= numel; ++begin) {
      for (std::int64_t end = begin; end <= numel; ++end) {
        std::vector<std::int64_t> found;
        const std::vector<Box> boxes = boxes_of(begin, end, shape);
        for (const Box& box : boxes) {
          const auto elements = elements_of(box, shape);
          found.insert(found.end(), elements.begin(), elements.end());
        }
        std::vector<std::int64_t> expected(static_cast<std::size_t>(end - begin));
        std::iota(expected.begin(), expected.end(), begin);
        ASSERT_EQ(found, expected) << shape.size() << " dimensions, " << begin << " to " << end;
        ASSERT_LE(boxes.size(), 2 * shape.size());
      }
    }
  }
}

}  // namespace
}  // namespace muster::checkpoint::internal
