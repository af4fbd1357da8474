// The table of calls.
#include "muster_library.h"

#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>

#include <map>
#include <vector>

#include "muster/base/error.h"
#include "operation_shapes.h"

namespace muster::bench {
namespace {

struct Call {
  Communicator& communicator;
  Buffers buffers;
  ReduceOp reduction;
};

struct Row {
  const char* operation;
  bool in_place;
  bool out_of_place;
  void (*run)(Call& call);
};

// Round the ring, each rank both ways at once.
void send_to_next(Call& c) {
  const int rank = c.communicator.rank();
  const int ranks = c.communicator.world_size();
  Work send = c.communicator.send(c.buffers.input, (rank + 1) % ranks);
  Work recv = c.communicator.recv(c.buffers.output, (rank + ranks - 1) % ranks);
  send.wait();
  recv.wait();
}

constexpr Row kRows[] = {
    {"all_reduce", true, true,
     [](Call& c) {
       c.communicator.all_reduce(c.buffers.output, c.buffers.input, c.reduction).wait();
     }},
    {"canonical_all_reduce", true, false,
     [](Call& c) {
       const ReductionTree one_logical_rank_each(c.communicator.world_size());
       c.communicator.canonical_all_reduce({c.buffers.output}, one_logical_rank_each).wait();
     }},
    {"reduce", true, true,
     [](Call& c) {
       c.communicator.reduce(c.buffers.output, c.buffers.input, kRoot, c.reduction).wait();
     }},
    {"reduce_scatter", true, true,
     [](Call& c) {
       c.communicator.reduce_scatter(c.buffers.output, c.buffers.input, c.reduction).wait();
     }},
    {"canonical_reduce_scatter", true, true,
     [](Call& c) {
       const ReductionTree one_logical_rank_each(c.communicator.world_size());
       c.communicator
           .canonical_reduce_scatter(c.buffers.output, {c.buffers.input}, one_logical_rank_each)
           .wait();
     }},
    {"all_gather", true, true,
     [](Call& c) { c.communicator.all_gather(c.buffers.output, c.buffers.input).wait(); }},
    {"broadcast", true, false,
     [](Call& c) { c.communicator.broadcast(c.buffers.output, kRoot).wait(); }},
    {"scatter", true, true,
     [](Call& c) { c.communicator.scatter(c.buffers.output, c.buffers.input, kRoot).wait(); }},
    {"gather", true, true,
     [](Call& c) { c.communicator.gather(c.buffers.output, c.buffers.input, kRoot).wait(); }},
    {"all_to_all", false, true,
     [](Call& c) { c.communicator.all_to_all(c.buffers.output, c.buffers.input).wait(); }},
    {"send_recv", false, true, send_to_next},
    {"barrier", true, true, [](Call& c) { c.communicator.barrier().wait(); }},
};

ReduceOp reduce_op_of(const Library& library, const CaseName& name) {
  static const std::map<std::string, ReduceOp> ops = {
      {"", ReduceOp::kSum},  // not used
      {"sum", ReduceOp::kSum}, {"avg", ReduceOp::kAvg},         {"min", ReduceOp::kMin},
      {"max", ReduceOp::kMax}, {"product", ReduceOp::kProduct},
  };
  const auto found = ops.find(name.reduction);
  if (found == ops.end()) not_offered(library, name, "choose another reduction");
  const bool canonical = name.operation.starts_with("canonical");
  if (canonical && name.reduction != "sum") not_offered(library, name, "choose sum");
  return found->second;
}

}  // namespace

MusterLibrary::MusterLibrary(World& world)
    : Library(world.communicator().rank(), world.communicator().world_size()), world_(world) {}

at::Tensor MusterLibrary::allocate(const std::string& memory, std::int64_t bytes) {
  if (memory == "symmetric") return world_.communicator().allocate_symmetric(bytes, at::kByte);
  return at::zeros({bytes}, at::kByte);
}

std::function<void()> MusterLibrary::bind(const CaseName& name, const Buffers& buffers) {
  const bool in_place = name.place == "in";
  for (const Row& row : kRows) {
    if (name.operation != row.operation) continue;
    if (!(in_place ? row.in_place : row.out_of_place)) {
      not_offered(*this, name, in_place ? "choose --places out" : "choose --places in");
    }
    return [call = Call{world_.communicator(), buffers, reduce_op_of(*this, name)},
            run = row.run]() mutable { run(call); };
  }
  not_offered(*this, name, "choose another operation");
}

void MusterLibrary::barrier() { world_.communicator().barrier().wait(); }

void MusterLibrary::maximize(std::span<double> values) {
  const at::Tensor tensor =
      at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, at::kDouble);
  world_.communicator().all_reduce(tensor, ReduceOp::kMax).wait();
}

}  // namespace muster::bench
