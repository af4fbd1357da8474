// From engine to ranges, and the reading of them.
#include "checkpoint_ranges.h"

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>
#include <c10/util/accumulate.h>

#include <utility>

#include "flat_layout.h"
#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_search.h"
#include "tensor_dtype.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {

using checkpoint::Checkpoint;
using checkpoint::Reader;
using checkpoint::SourceRange;
using checkpoint::TargetRange;
using checkpoint::TensorRange;

/// The part [begin, end) of what this rank holds of a state tensor, and its memory.
SourceRange range_of(const StateTensor& tensor, FlatRange part) {
  TensorRange range{tensor.name, to_dtype(tensor.name, tensor.flat.scalar_type()), tensor.shape,
                    tensor.begin + part.begin, tensor.begin + part.end};
  const auto* base = static_cast<const char*>(tensor.flat.const_data_ptr());
  return {std::move(range), base + part.begin * tensor.flat.element_size()};
}

FlatRange all_held(const StateTensor& tensor) { return {0, tensor.flat.numel()}; }

TargetRange target_of(const StateTensor& tensor, FlatRange part) {
  const SourceRange held = range_of(tensor, part);
  return {held.range, const_cast<void*>(held.data)};
}

FlatRange own_part(const StateTensor& tensor, const RankEnv& env) {
  return even_part(tensor.flat.numel(), env.rank, env.world_size);
}

// What each rank holds and is larger than this, the least that is read, is read by all together, a
// part each. The rest is not worth the messages.
constexpr std::int64_t kDividedBytes = checkpoint::kChunkBytes;

bool is_divided(const StateTensor& tensor, const Communicator& communicator) {
  return communicator.world_size() > 1 && tensor.replicated &&
         static_cast<std::int64_t>(tensor.flat.nbytes()) > kDividedBytes;
}

/// Collective. Every rank has its even part of the tensor; then all have all of it.
void exchange_parts(const StateTensor& tensor, Communicator& communicator) {
  const std::int64_t element_bytes = static_cast<std::int64_t>(tensor.flat.element_size());
  const at::Tensor bytes = at::from_blob(tensor.flat.mutable_data_ptr(),
                                         {static_cast<std::int64_t>(tensor.flat.nbytes())},
                                         at::TensorOptions(at::kByte));
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    const FlatRange part = even_part(tensor.flat.numel(), rank, communicator.world_size());
    communicator
        .broadcast(bytes.narrow(0, part.begin * element_bytes, part.numel() * element_bytes), rank)
        .wait();
  }
}

void require_known(const Checkpoint& checkpoint, const std::vector<StateTensor>& state) {
  if (state.size() == checkpoint.manifest().tensors.size()) return;
  for (const auto& [name, entry] : checkpoint.manifest().tensors) {
    bool known = false;
    for (const StateTensor& tensor : state) known = known || tensor.name == name;
    if (known) continue;
    throw CheckpointError(checkpoint.directory().string() +
                          ": expected only tensors of this model, found '" + name +
                          "'; was it written by another model? Give its options, another "
                          "--checkpoint-dir or --fresh");
  }
}

}  // namespace

SourceRange held_range(const StateTensor& tensor) { return range_of(tensor, all_held(tensor)); }

std::vector<SourceRange> stored_ranges(const HostState& state, const RankEnv& env) {
  std::vector<SourceRange> sources;
  for (const StateTensor& tensor : state.tensors()) {
    // What every rank holds is divided over the files; what is sharded goes to its owner's.
    const FlatRange part = tensor.replicated ? own_part(tensor, env) : all_held(tensor);
    // Rank 0 stores a tensor without elements too, so that the tensor is there at a restore.
    const bool empty = c10::multiply_integers(tensor.shape) == 0;
    if (part.numel() > 0 || (env.rank == 0 && empty)) sources.push_back(range_of(tensor, part));
  }
  return sources;
}

std::string read_into(Engine& engine, const RankEnv& env, Communicator& communicator,
                      const Checkpoint& checkpoint) {
  const HostState on_host(engine.state(), HostState::Contents::kNone);
  const std::vector<StateTensor>& state = on_host.tensors();
  require_known(checkpoint, state);
  std::vector<TargetRange> targets;
  for (const StateTensor& tensor : state) {
    const FlatRange part =
        is_divided(tensor, communicator) ? own_part(tensor, env) : all_held(tensor);
    targets.push_back(target_of(tensor, part));
  }
  const Reader reader{env.rank, env.world_size};
  const std::string damage = summary(checkpoint.load(targets, reader));
  for (const std::string& text : gather_texts(communicator, damage)) {
    if (!text.empty()) return text;
  }
  for (const StateTensor& tensor : state) {
    if (is_divided(tensor, communicator)) exchange_parts(tensor, communicator);
  }
  on_host.give_back();
  engine.state_changed();
  // At stage 3 the parameters are one copy for all: nobody computes before all have read.
  communicator.barrier().wait();
  return "";
}

}  // namespace muster::internal
