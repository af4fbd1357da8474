// Random operations with known results, the same on every rank of a communicator.
#ifndef MUSTER_TESTS_COLLECTIVES_RANDOM_OPERATIONS_H_
#define MUSTER_TESTS_COLLECTIVES_RANDOM_OPERATIONS_H_

#include <ATen/ATen.h>

#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::testing {

/// What was issued, and what must hold of it in the end.
struct IssuedOperation {
  std::string title;
  std::vector<Work> works;
  std::function<bool()> is_right;  ///< Once all works have ended.
};

/// All ranks of the communicator draw from equal seeds, and so call the same.
class RandomOperations {
 public:
  /// Of one communicator; whoever issues waits for the oldest before there are more.
  static constexpr std::size_t kMostInFlight = 6;

  RandomOperations(Communicator& communicator, std::uint64_t seed);

  IssuedOperation issue();

 private:
  using Check = std::function<bool()>;

  int draw(int below) { return static_cast<int>(random_() % static_cast<std::uint64_t>(below)); }
  template <typename Value>
  Value drawn_of(const std::vector<Value>& values) {
    return values[static_cast<std::size_t>(draw(static_cast<int>(values.size())))];
  }
  void draw_arguments();
  at::Tensor tensor(std::int64_t numel);
  /// What rank r's element i of operation `number_` is: small integers, so that sums are exact, and
  /// for products small powers of two.
  at::Tensor values(int rank, std::int64_t numel) const;
  at::Tensor combined(std::int64_t numel, ReduceOp op) const;
  at::Tensor concatenated(std::int64_t numel) const;
  /// Elements that `from` gives `to` in an exchange with counts.
  std::int64_t exchanged(int from, int to) const {
    return numel_ * ((from + 2 * to + root_) % 3) / 2;
  }
  std::vector<at::Tensor> partials(std::int64_t numel, const ReductionTree& tree);

  Check all_reduce();
  Check reduce();
  Check reduce_scatter();
  Check all_gather();
  Check all_gather_counts();
  Check broadcast();
  Check scatter();
  Check gather();
  Check all_to_all();
  Check all_to_all_counts();
  Check canonical_all_reduce();
  Check canonical_reduce_scatter();
  Check ring();
  Check barrier();

  Communicator& communicator_;
  const int rank_;
  const int world_size_;
  std::mt19937_64 random_;
  std::vector<at::Tensor> symmetric_;  // bytes; used in turn
  std::size_t next_symmetric_ = 0;

  // Of the operation being issued.
  std::int64_t number_ = -1;
  std::int64_t numel_ = 0;
  at::ScalarType dtype_ = at::kFloat;
  bool in_symmetric_ = false;
  int root_ = 0;
  ReduceOp op_ = ReduceOp::kSum;
  std::vector<Work> works_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_RANDOM_OPERATIONS_H_
