// Drawing, issuing, and what each operation must come to.
#include "collectives/random_operations.h"

#include <array>
#include <iterator>
#include <utility>

#include "collectives/checks/operation_checks.h"

namespace muster::testing {
namespace {

constexpr std::int64_t kMostSymmetricNumel = 2000;
// Most that an operation uses of it.
constexpr std::size_t kTensorsOfAnOperation = 2;

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
  static constexpr std::array kDtypes = {at::kFloat, at::kDouble, at::kBFloat16, at::kLong,
                                         at::kByte};
  static constexpr std::array kOps = {ReduceOp::kSum, ReduceOp::kMin, ReduceOp::kMax};
  ++number_;
  dtype_ = kDtypes[static_cast<std::size_t>(draw(kDtypes.size()))];
  op_ = kOps[static_cast<std::size_t>(draw(kOps.size()))];
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
  return (at::remainder(index * (2 * rank + 3) + 5 * number_, 23) - 7).to(dtype_);
}

at::Tensor RandomOperations::combined(std::int64_t numel, ReduceOp op) const {
  at::Tensor result = values(0, numel).to(at::kLong);
  for (int r = 1; r < world_size_; ++r) {
    const at::Tensor next = values(r, numel).to(at::kLong);
    if (op == ReduceOp::kSum) result += next;
    if (op == ReduceOp::kMin) result = at::minimum(result, next);
    if (op == ReduceOp::kMax) result = at::maximum(result, next);
  }
  return result.to(dtype_);
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

RandomOperations::Check RandomOperations::canonical_all_reduce() {
  dtype_ = at::kFloat;
  const int logical_ranks = world_size_ + root_;
  const ReductionTree tree(logical_ranks);
  const auto partials = make_partials(communicator_, Memory::kOrdinary, numel_, dtype_, tree);
  works_.push_back(communicator_.canonical_all_reduce(partials, tree));
  at::Tensor expected = tree_sum({0, logical_ranks}, numel_, dtype_);
  return [sum = partials[0], expected] { return at::equal(sum, expected); };
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
      {"canonical_all_reduce", &RandomOperations::canonical_all_reduce},
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
