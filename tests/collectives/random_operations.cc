// Drawing, issuing, and what each operation must come to.
#include "collectives/random_operations.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <utility>

#include "collectives/checks/operation_checks.h"

namespace muster::testing {
namespace {

constexpr std::int64_t kMostSymmetricNumel = 2000;
const std::vector<at::ScalarType> kCanonicalDtypes = {at::kFloat, at::kDouble, at::kLong};
// Most that an operation uses of it.
constexpr std::size_t kTensorsOfAnOperation = 3;

}  // namespace

RandomOperations::RandomOperations(Communicator& communicator, std::uint64_t seed)
    : communicator_(communicator),
      rank_(communicator.rank()),
      world_size_(communicator.world_size()),
      random_(seed) {
  const std::int64_t bytes = kMostSymmetricNumel * world_size_ * 8;
  for (std::size_t i = 0; i < kTensorsOfAnOperation * (kMostInFlight + 1); ++i) {
    symmetric_.push_back(communicator.allocate_symmetric(bytes, at::kByte));
  }
}

void RandomOperations::draw_arguments() {
  ++number_;
  dtype_ = drawn_of(kReducibleDtypes);
  op_ = drawn_of(reduce_ops(dtype_));
  root_ = draw(world_size_);
  in_symmetric_ = draw(3) == 0;
  numel_ = draw(1 << draw(12));
  if (!in_symmetric_ && draw(40) == 0) numel_ = 10000 + draw(50000);
  numel_ = in_symmetric_ ? std::min(numel_, kMostSymmetricNumel) : numel_;
}

at::Tensor RandomOperations::tensor(std::int64_t numel) {
  if (!in_symmetric_) return at::empty({numel}, at::TensorOptions().dtype(dtype_));
  const at::Tensor& bytes = symmetric_[next_symmetric_++ % symmetric_.size()];
  return bytes.narrow(0, 0, numel * static_cast<std::int64_t>(c10::elementSize(dtype_)))
      .view(dtype_);
}

at::Tensor RandomOperations::values(int rank, std::int64_t numel) const {
  const at::Tensor index = at::arange(numel, at::kLong);
  const at::Tensor drawn = at::remainder(index * (2 * rank + 3) + 5 * number_, 23);
  if (dtype_ == at::kBool) return at::remainder(drawn, 3).eq(0);
  if (op_ == ReduceOp::kProduct) {
    const at::Tensor factors = at::remainder(drawn, 3);
    return at::where(factors.eq(0), -1, factors).to(dtype_);
  }
  return (drawn - 7).to(dtype_);
}

at::Tensor RandomOperations::combined(std::int64_t numel, ReduceOp op) const {
  at::Tensor result = values(0, numel).to(at::kLong);
  for (int r = 1; r < world_size_; ++r) {
    const at::Tensor next = values(r, numel).to(at::kLong);
    if (op == ReduceOp::kSum || op == ReduceOp::kAvg) result += next;
    if (op == ReduceOp::kMin) result = at::minimum(result, next);
    if (op == ReduceOp::kMax) result = at::maximum(result, next);
    if (op == ReduceOp::kProduct) result *= next;
    if (op == ReduceOp::kBitAnd) result = at::bitwise_and(result, next);
    if (op == ReduceOp::kBitOr) result = at::bitwise_or(result, next);
  }
  if (op != ReduceOp::kAvg) return result.to(dtype_);
  return (result.to(dtype_ == at::kDouble ? at::kDouble : at::kFloat) / world_size_).to(dtype_);
}

at::Tensor RandomOperations::concatenated(std::int64_t numel) const {
  std::vector<at::Tensor> all;
  for (int r = 0; r < world_size_; ++r) all.push_back(values(r, numel));
  return at::cat(all);
}

RandomOperations::Check RandomOperations::all_reduce() {
  at::Tensor data = tensor(numel_).copy_(values(rank_, numel_));
  works_.push_back(communicator_.all_reduce(data, op_));
  return [data, expected = combined(numel_, op_)] { return at::equal(data, expected); };
}

RandomOperations::Check RandomOperations::reduce() {
  at::Tensor input = tensor(numel_).copy_(values(rank_, numel_));
  at::Tensor output = tensor(numel_);
  works_.push_back(communicator_.reduce(output, input, root_, op_));
  if (rank_ != root_) return [] { return true; };
  return [output, expected = combined(numel_, op_)] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::reduce_scatter() {
  const std::int64_t total = numel_ * world_size_;
  at::Tensor input = tensor(total).copy_(values(rank_, total));
  at::Tensor output = tensor(numel_);
  works_.push_back(communicator_.reduce_scatter(output, input, op_));
  at::Tensor expected = combined(total, op_).narrow(0, rank_ * numel_, numel_);
  return [output, expected] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::all_gather() {
  at::Tensor input = tensor(numel_).copy_(values(rank_, numel_));
  at::Tensor output = tensor(numel_ * world_size_);
  works_.push_back(communicator_.all_gather(output, input));
  return [output, expected = concatenated(numel_)] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::all_gather_counts() {
  std::vector<std::int64_t> counts;
  std::vector<at::Tensor> all;
  for (int r = 0; r < world_size_; ++r) {
    counts.push_back(numel_ * ((r + root_) % 3) / 2);
    all.push_back(values(r, counts.back()));
  }
  at::Tensor expected = at::cat(all);
  in_symmetric_ = false;  // where sizes differ over ranks
  at::Tensor input = all[static_cast<std::size_t>(rank_)].clone();
  at::Tensor output = tensor(expected.numel());
  works_.push_back(communicator_.all_gather(output, input, counts));
  return [output, expected] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::broadcast() {
  at::Tensor data = tensor(numel_).copy_(values(rank_, numel_));
  works_.push_back(communicator_.broadcast(data, root_));
  return [data, expected = values(root_, numel_)] { return at::equal(data, expected); };
}

RandomOperations::Check RandomOperations::scatter() {
  const std::int64_t total = numel_ * world_size_;
  at::Tensor input = tensor(total).copy_(values(rank_, total));
  at::Tensor output = tensor(numel_);
  works_.push_back(communicator_.scatter(output, input, root_));
  at::Tensor expected = values(root_, total).narrow(0, rank_ * numel_, numel_);
  return [output, expected] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::gather() {
  at::Tensor input = tensor(numel_).copy_(values(rank_, numel_));
  at::Tensor output = tensor(numel_ * world_size_);
  works_.push_back(communicator_.gather(output, input, root_));
  if (rank_ != root_) return [] { return true; };
  return [output, expected = concatenated(numel_)] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::all_to_all() {
  const std::int64_t total = numel_ * world_size_;
  at::Tensor input = tensor(total).copy_(values(rank_, total));
  at::Tensor output = tensor(total);
  works_.push_back(communicator_.all_to_all(output, input));
  std::vector<at::Tensor> all;
  for (int r = 0; r < world_size_; ++r) {
    all.push_back(values(r, total).narrow(0, rank_ * numel_, numel_));
  }
  return [output, expected = at::cat(all)] { return at::equal(output, expected); };
}

RandomOperations::Check RandomOperations::all_to_all_counts() {
  std::vector<std::int64_t> input_counts, output_counts;
  std::vector<at::Tensor> all;
  for (int r = 0; r < world_size_; ++r) {
    input_counts.push_back(exchanged(rank_, r));
    output_counts.push_back(exchanged(r, rank_));
    std::int64_t begin = 0;
    for (int to = 0; to < rank_; ++to) begin += exchanged(r, to);
    all.push_back(values(r, begin + output_counts.back()).narrow(0, begin, output_counts.back()));
  }
  const at::Tensor expected = at::cat(all);
  in_symmetric_ = false;  // where sizes differ over ranks
  const at::Tensor input =
      values(rank_, std::accumulate(input_counts.begin(), input_counts.end(), std::int64_t{0}));
  const at::Tensor output = tensor(expected.numel());
  works_.push_back(communicator_.all_to_all(output, output_counts, input, input_counts));
  return [output, expected] { return at::equal(output, expected); };
}

// Two at most of each rank, which hosts two logical ranks at most.
std::vector<at::Tensor> RandomOperations::partials(std::int64_t numel, const ReductionTree& tree) {
  std::vector<at::Tensor> all;
  const auto subtrees = tree.subtrees_by_rank(world_size_);
  for (const LogicalRange& subtree : subtrees[static_cast<std::size_t>(rank_)]) {
    all.push_back(tensor(numel).copy_(tree_sum(subtree, numel, dtype_)));
  }
  return all;
}

RandomOperations::Check RandomOperations::canonical_all_reduce() {
  dtype_ = drawn_of(kCanonicalDtypes);
  const int logical_ranks = world_size_ + root_;
  const ReductionTree tree(logical_ranks);
  const auto sources = partials(numel_, tree);
  works_.push_back(communicator_.canonical_all_reduce(sources, tree));
  at::Tensor expected = tree_sum({0, logical_ranks}, numel_, dtype_);
  return [sum = sources[0], expected] { return at::equal(sum, expected); };
}

RandomOperations::Check RandomOperations::canonical_reduce_scatter() {
  dtype_ = drawn_of(kCanonicalDtypes);
  numel_ = std::min(numel_, kMostSymmetricNumel);  // the reference sums are slow
  const int logical_ranks = world_size_ + root_;
  const ReductionTree tree(logical_ranks);
  const std::int64_t total = numel_ * world_size_;
  const at::Tensor output = tensor(numel_);
  works_.push_back(communicator_.canonical_reduce_scatter(output, partials(total, tree), tree));
  at::Tensor expected =
      tree_sum({0, logical_ranks}, total, dtype_).narrow(0, rank_ * numel_, numel_);
  return [output, expected] { return at::equal(output, expected); };
}

// To the rank `root_` places on, and back.
RandomOperations::Check RandomOperations::ring() {
  if (root_ == 0) return barrier();
  in_symmetric_ = false;
  const int after = (rank_ + root_) % world_size_;
  const int before = (rank_ + world_size_ - root_) % world_size_;
  at::Tensor sent = values(rank_, numel_);
  at::Tensor from_before = tensor(numel_);
  at::Tensor from_after = tensor(numel_);
  works_.push_back(communicator_.send(sent, after));
  works_.push_back(communicator_.recv(from_before, before));
  works_.push_back(communicator_.send(sent, before));
  works_.push_back(communicator_.recv(from_after, after));
  // Two transfers from one rank where both are the same.
  return [from_before, from_after, of_before = values(before, numel_),
          of_after = values(after, numel_)] {
    return at::equal(from_before, of_before) && at::equal(from_after, of_after);
  };
}

RandomOperations::Check RandomOperations::barrier() {
  works_.push_back(communicator_.barrier());
  return [] { return true; };
}

IssuedOperation RandomOperations::issue() {
  struct Kind {
    const char* name;
    Check (RandomOperations::*issue)();
  };
  static constexpr Kind kKinds[] = {
      {"all_reduce", &RandomOperations::all_reduce},
      {"reduce", &RandomOperations::reduce},
      {"reduce_scatter", &RandomOperations::reduce_scatter},
      {"all_gather", &RandomOperations::all_gather},
      {"all_gather with counts", &RandomOperations::all_gather_counts},
      {"broadcast", &RandomOperations::broadcast},
      {"scatter", &RandomOperations::scatter},
      {"gather", &RandomOperations::gather},
      {"all_to_all", &RandomOperations::all_to_all},
      {"all_to_all with counts", &RandomOperations::all_to_all_counts},
      {"canonical_all_reduce", &RandomOperations::canonical_all_reduce},
      {"canonical_reduce_scatter", &RandomOperations::canonical_reduce_scatter},
      {"send and recv", &RandomOperations::ring},
      {"barrier", &RandomOperations::barrier},
  };
  const Kind& kind = kKinds[draw(std::size(kKinds))];
  draw_arguments();
  Check is_right = (this->*kind.issue)();
  IssuedOperation issued{kind.name, std::exchange(works_, {}), std::move(is_right)};
  issued.title += ", number " + std::to_string(number_) + ", " + std::to_string(numel_) + " " +
                  c10::toString(dtype_) + " on rank " + std::to_string(rank_) + " of " +
                  std::to_string(world_size_);
  return issued;
}

}  // namespace muster::testing
