// Describing and queueing; the transport does the rest.
#include "queued_communicator.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <algorithm>
#include <map>
#include <numeric>
#include <utility>

#include "muster/base/error.h"
#include "muster/base/log.h"
#include "tensor_checks.h"
#include "transport_window.h"

namespace muster::internal {
namespace {

// "world, generation 2"; without a name "generation 2".
std::string joined(const std::string& name, const char* what, int number) {
  return name + (name.empty() ? "" : ", ") + what + " " + std::to_string(number);
}

}  // namespace

QueuedCommunicator::QueuedCommunicator(int rank, int world_size,
                                       std::unique_ptr<Transport> transport,
                                       const std::string& name, std::chrono::milliseconds timeout,
                                       FlightLane flight, CommunicatorOrigin origin,
                                       at::Device device)
    : Communicator(rank, world_size, std::move(origin)),
      base_name_(name),
      name_(previous_ranks().empty() ? name : joined(name, "generation", generation())),
      timeout_(timeout),
      flight_(flight),
      device_(device),
      orders_(world_size),
      queue_(OperationQueue::start(std::move(transport), name_, timeout, std::move(flight))) {}

QueuedCommunicator::~QueuedCommunicator() {
  if (owner_.is_this()) {
    queue_->stop();
  } else {
    keep_for_ever(std::move(queue_));
  }
}

// The device's type has been checked; there may be several of it.
void QueuedCommunicator::check_device(const Operation& operation,
                                      const std::vector<at::Tensor>& tensors) const {
  for (const at::Tensor& tensor : tensors) {
    if (!tensor.defined() || device_.is_cpu() || tensor.device() == device_) continue;
    throw ConfigError(std::string(operation_name(operation.signature.kind)) +
                      ": expected tensors on " + device_.str() +
                      ", the communicator's device, found one on " + tensor.device().str() +
                      "; copy it there first");
  }
}

Work QueuedCommunicator::submit(Operation operation, std::vector<at::Tensor> tensors) {
  check_device(operation, tensors);
  operation.issued = queue_->transport().mark_issue();
  return Work(queue_->submit(std::move(operation), std::move(tensors)));
}

Work QueuedCommunicator::all_reduce(at::Tensor output, at::Tensor input, ReduceOp op) {
  return submit(describe_all_reduce(caller(), output, input, op), {output, input});
}

Work QueuedCommunicator::reduce(at::Tensor output, at::Tensor input, int root, ReduceOp op) {
  if (rank() != root) output.reset();  // not looked at, not for its device either
  return submit(describe_reduce(caller(), output, input, root, op), {output, input});
}

Work QueuedCommunicator::reduce_scatter(at::Tensor output, at::Tensor input, ReduceOp op) {
  return submit(describe_reduce_scatter(caller(), output, input, op), {output, input});
}

Work QueuedCommunicator::all_gather(at::Tensor output, at::Tensor input) {
  return submit(describe_all_gather(caller(), output, input), {output, input});
}

Work QueuedCommunicator::all_gather(at::Tensor output, at::Tensor input,
                                    const std::vector<std::int64_t>& counts) {
  return submit(describe_all_gather(caller(), output, input, counts), {output, input});
}

Work QueuedCommunicator::broadcast(at::Tensor tensor, int root) {
  return submit(describe_broadcast(caller(), tensor, root), {tensor});
}

Work QueuedCommunicator::scatter(at::Tensor output, at::Tensor input, int root) {
  if (rank() != root) input.reset();
  return submit(describe_scatter(caller(), output, input, root), {output, input});
}

Work QueuedCommunicator::gather(at::Tensor output, at::Tensor input, int root) {
  if (rank() != root) output.reset();
  return submit(describe_gather(caller(), output, input, root), {output, input});
}

Work QueuedCommunicator::all_to_all(at::Tensor output, at::Tensor input) {
  return submit(describe_all_to_all(caller(), output, input), {output, input});
}

Work QueuedCommunicator::all_to_all(at::Tensor output,
                                    const std::vector<std::int64_t>& output_counts,
                                    at::Tensor input,
                                    const std::vector<std::int64_t>& input_counts) {
  return submit(describe_all_to_all(caller(), output, output_counts, input, input_counts),
                {output, input});
}

Work QueuedCommunicator::send(at::Tensor tensor, int peer) {
  return submit(describe_send(caller(), tensor, peer), {tensor});
}

Work QueuedCommunicator::recv(at::Tensor tensor, int peer) {
  return submit(describe_receive(caller(), tensor, peer), {tensor});
}

Work QueuedCommunicator::barrier() { return submit(describe_meeting(OperationKind::kBarrier), {}); }

Work QueuedCommunicator::canonical_all_reduce(std::vector<at::Tensor> partials,
                                              const ReductionTree& tree) {
  Operation operation = describe_canonical_all_reduce(caller(), partials, tree);
  return submit(std::move(operation), std::move(partials));
}

Work QueuedCommunicator::canonical_reduce_scatter(at::Tensor output,
                                                  std::vector<at::Tensor> partials,
                                                  const ReductionTree& tree) {
  Operation operation = describe_canonical_reduce_scatter(caller(), output, partials, tree);
  partials.push_back(output);
  return submit(std::move(operation), std::move(partials));
}

void QueuedCommunicator::abort(const std::string& reason) {
  queue_->abort("aborted by this rank: " + reason);
}

std::unique_ptr<Window> QueuedCommunicator::open_window(std::int64_t numel, at::ScalarType dtype) {
  Operation operation = describe_open_window(numel, dtype);
  const std::int64_t bytes = std::max<std::int64_t>(1, operation.part_bytes());
  auto memory = std::make_shared<WindowMemory>();
  Work(queue_->submit_with(std::move(operation), [memory, bytes](Transport& transport,
                                                                 const OperationRun& run) {
    *memory = transport.open_window(run, bytes);
  })).wait();
  return std::make_unique<TransportWindow>(std::move(*memory), numel, dtype);
}

// The ranks tell each other their colors and keys; then all make all parts at once.
std::unique_ptr<Communicator> QueuedCommunicator::split(int color, int key) {
  const auto ranks = static_cast<std::size_t>(world_size());
  at::Tensor wish = at::empty({2}, at::kLong);
  wish.mutable_data_ptr<std::int64_t>()[0] = color;
  wish.mutable_data_ptr<std::int64_t>()[1] = key;
  at::Tensor wishes = at::empty({2 * world_size()}, at::kLong);
  const Caller on_host{rank(), world_size(), at::kCPU, &orders_};
  Work(queue_->submit(describe_wishes_of_split(on_host, wishes, wish), {wishes, wish})).wait();
  const auto* all = wishes.const_data_ptr<std::int64_t>();
  std::map<std::int64_t, std::vector<int>> by_color;
  for (std::size_t r = 0; r < ranks; ++r) {
    if (all[2 * r] >= 0) by_color[all[2 * r]].push_back(static_cast<int>(r));
  }
  std::vector<std::vector<int>> parts;
  int own = -1;
  for (auto& [part_color, part] : by_color) {
    std::stable_sort(part.begin(), part.end(),
                     [&](int a, int b) { return all[2 * a + 1] < all[2 * b + 1]; });
    if (part_color == color) own = static_cast<int>(parts.size());
    parts.push_back(std::move(part));
  }
  auto transport = std::make_shared<std::unique_ptr<Transport>>();
  Work(queue_->submit_with(describe_meeting(OperationKind::kSplit), [transport, parts, own](
                                                                        Transport& whole,
                                                                        const OperationRun& run) {
    *transport = whole.split(run, parts, own);
  })).wait();
  const std::string name = part_name(color);
  if (own < 0) return nullptr;
  const std::vector<int>& part = parts[static_cast<std::size_t>(own)];
  const int rank_in_part = internal::place_in(part, rank());
  const int size = static_cast<int>(part.size());
  return std::make_unique<QueuedCommunicator>(rank_in_part, size, std::move(*transport), name,
                                              timeout_, flight_.of_part(name, rank_in_part, size),
                                              CommunicatorOrigin{}, device_);
}

std::unique_ptr<QueuedCommunicator> QueuedCommunicator::on_device(at::Device device,
                                                                  std::chrono::milliseconds timeout,
                                                                  const Rewiring& rewire) {
  std::vector<int> everyone(static_cast<std::size_t>(world_size()));
  std::iota(everyone.begin(), everyone.end(), 0);
  auto transport = std::make_shared<std::unique_ptr<Transport>>();
  Work(queue_->submit_with(describe_meeting(OperationKind::kSplit), [&, transport](
                                                                        Transport& whole,
                                                                        const OperationRun& run) {
    *transport = rewire(whole.split(run, {everyone}, 0), run);
  })).wait();
  const std::string name = joined(name_, device.str().c_str(), splits_++);
  return std::make_unique<QueuedCommunicator>(rank(), world_size(), std::move(*transport), name,
                                              timeout, flight_.of_part(name, rank(), world_size()),
                                              CommunicatorOrigin{}, device);
}

// Parts of the world are "split 0 (color 1)", of that one "split 0 (color 1).0 (color 0)".
std::string QueuedCommunicator::part_name(int color) {
  const std::string number = std::to_string(splits_++) + " (color " + std::to_string(color) + ")";
  if (name_.empty()) return "split " + number;
  return name_ + (base_name_.empty() ? ", split " : ".") + number;
}

std::unique_ptr<Communicator> QueuedCommunicator::regroup(std::chrono::milliseconds deadline,
                                                          Regrouping how) {
  std::vector<int> ranks(static_cast<std::size_t>(world_size()));
  std::iota(ranks.begin(), ranks.end(), 0);
  return meet(next_generation(deadline, how, ranks), deadline, how);
}

std::unique_ptr<QueuedCommunicator> QueuedCommunicator::meet(
    std::unique_ptr<QueuedCommunicator> next, std::chrono::milliseconds deadline, Regrouping how) {
  while (!next->all_meet(deadline)) {
    next = next->next_generation(deadline, how, next->previous_ranks());
  }
  return next;
}

std::unique_ptr<QueuedCommunicator> QueuedCommunicator::next_generation(
    std::chrono::milliseconds deadline, Regrouping how, const std::vector<int>& ranks) {
  abort(std::string(how == Regrouping::kShrink ? "shrink" : "replace") + "() was called");
  const Operation operation = describe_meeting(OperationKind::kRegroup);
  const Interruption none;
  const std::atomic<int> waiters{1};
  const OperationRun run(operation, static_cast<std::uint64_t>(generation()), name_, deadline, none,
                         waiters);
  NextGeneration next = queue_->transport().regroup(run, how);
  CommunicatorOrigin origin{generation() + 1, {}};
  for (const int r : next.ranks) {
    origin.previous_ranks.push_back(r < 0 ? -1 : ranks[static_cast<std::size_t>(r)]);
  }
  const int size = static_cast<int>(next.ranks.size());
  FlightLane flight = flight_.of_part(flight_name(base_name_, origin.generation), next.rank, size);
  return std::make_unique<QueuedCommunicator>(next.rank, size, std::move(next.transport),
                                              base_name_, timeout_, std::move(flight),
                                              std::move(origin), device_);
}

std::string QueuedCommunicator::flight_name(const std::string& base_name, int generation) {
  return joined(base_name.empty() ? "world" : base_name, "generation", generation);
}

// False when another rank was lost meanwhile: then all find that, at the latest when the ranks that
// found it first are in the next round.
bool QueuedCommunicator::all_meet(std::chrono::milliseconds deadline) {
  try {
    Work(queue_->submit_within(deadline, describe_meeting(OperationKind::kRegroup))).wait();
    return true;
  } catch (const PeerLost& error) {
    MUSTER_LOG(WARNING) << "another round: " << error.what();
  } catch (const Timeout& error) {
    MUSTER_LOG(WARNING) << "another round: " << error.what();
  }
  return false;
}

bool QueuedCommunicator::leave_together() noexcept {
  try {
    submit(describe_meeting(OperationKind::kLeave), {}).wait();
    return true;
  } catch (const std::exception& error) {
    MUSTER_LOG(WARNING) << "leaving alone: " << error.what();
    return false;
  }
}

namespace {

template <typename Allocate>
at::Tensor allocate(const char* name, std::int64_t numel, at::ScalarType dtype, at::Device device,
                    const Allocate& allocate_bytes) {
  const at::TensorOptions options = at::TensorOptions().dtype(dtype).device(device);
  const std::int64_t bytes = check_size(name, numel, dtype);
  std::shared_ptr<std::byte> memory;
  if (bytes > 0) {
    memory = allocate_bytes(bytes);
    if (memory == nullptr) return {};
  }
  std::byte* data = memory.get();
  return at::from_blob(
      data, {numel}, [memory = std::move(memory)](void*) {}, options, device);
}

}  // namespace

std::vector<int> QueuedCommunicator::ranks_sharing_memory() const {
  std::vector<int> ranks = queue_->transport().ranks_sharing_memory();
  if (ranks.empty()) ranks = {rank()};
  return ranks;
}

at::Tensor QueuedCommunicator::allocate_symmetric(std::int64_t numel, at::ScalarType dtype) {
  return allocate("allocate_symmetric", numel, dtype, device_, [&](std::int64_t bytes) {
    return queue_->transport().allocate_symmetric(bytes);
  });
}

at::Tensor QueuedCommunicator::allocate_shared(std::int64_t numel, at::ScalarType dtype) {
  return allocate("allocate_shared", numel, dtype, device_,
                  [&](std::int64_t bytes) { return queue_->transport().allocate_shared(bytes); });
}

}  // namespace muster::internal
