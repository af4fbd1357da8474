// Shards and windows.
#include "windowed_parameters.h"

#include <ATen/core/grad_mode.h>

#include <exception>
#include <utility>

namespace muster::internal {

WindowedParameters::WindowedParameters(const FlatLayout& layout, const ShardLayout& shard,
                                       Communicator& communicator, at::ScalarType dtype)
    : WindowedParameters(communicator.open_window(shard.numel, dtype), layout, shard,
                         communicator) {}

WindowedParameters::WindowedParameters(std::unique_ptr<Window> window, const FlatLayout& layout,
                                       const ShardLayout& shard, Communicator& communicator)
    : ParameterStore(layout, shard, communicator, window->own()),
      window_(std::move(window)),
      exceptions_at_start_(std::uncaught_exceptions()) {
  for (int r = 0; r < communicator.world_size(); ++r) {
    shards_.push_back(make_shard_layout(layout, r, communicator.world_size()));
  }
}

// Others may still read this rank's shard; after an error they do not get it.
WindowedParameters::~WindowedParameters() {
  if (unwinding()) return;
  try {
    communicator_.barrier().wait();
  } catch (const std::exception&) {
    // A rank that is lost has been told of where it was needed.
  }
}

bool WindowedParameters::unwinding() const {
  return std::uncaught_exceptions() > exceptions_at_start_;
}

void WindowedParameters::take_values(const std::vector<NamedTensor>& parameters) {
  at::NoGradGuard no_grad;
  for (std::size_t i = 0; i < parameters.size(); ++i) {
    const at::Tensor values = parameters[i].tensor.detach().cpu().contiguous().view(-1);
    communicator_.broadcast(values, 0).wait();
    const auto [begin, own] = held_of_shard(layout_, shard_, i, values_);
    own.copy_(values.narrow(0, begin, own.numel()));
  }
}

at::Tensor WindowedParameters::piece(std::size_t bucket) {
  const Piece& piece = shard_.pieces[bucket];
  return values_.narrow(0, piece.offset, piece.flat.numel());
}

HeldRange WindowedParameters::held(std::size_t parameter) {
  return held_of_shard(layout_, shard_, parameter, values_);
}

Work WindowedParameters::read_piece(int from, std::size_t bucket, const at::Tensor& values) {
  const Piece& piece = shards_[static_cast<std::size_t>(from)].pieces[bucket];
  const std::int64_t begin = piece.flat.begin - layout_.buckets[bucket].range.begin;
  return window_->read(from, piece.offset, values.narrow(0, begin, piece.flat.numel()));
}

}  // namespace muster::internal
