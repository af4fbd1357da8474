// The update, bucket by bucket.
#include "weight_update.h"

#include <algorithm>
#include <cmath>

#include "gathered_parameters.h"
#include "muster/base/error.h"
#include "node_parameters.h"
#include "rule_parameters.h"

namespace muster::internal {
namespace {

/// What is done to weights is done to this many at a time: they, their gradients and the
/// optimizer's state are a few hundred KiB, which a core's own cache holds.
constexpr std::int64_t kCachedNumel = 16 * kBlockNumel;

}  // namespace

WeightUpdate::WeightUpdate(const EngineOptions& options, std::vector<NamedTensor>& trainable,
                           const FlatLayout& layout, const ShardLayout& shard, ParameterForm form,
                           const UpdatePlaces& places)
    : options_(options),
      trainable_(trainable),
      layout_(layout),
      shard_(shard),
      places_(places),
      optimizer_(options.optimizer, make_rule_parameters(options, trainable, layout), shard,
                 places.pieces),
      masters_(make_masters(trainable)),
      parameters_(make_store(form)),
      norm_(layout, shard, places.pieces) {
  if (options.ema_decay > 0)
    average_.emplace(shard, places.pieces, options.ema_decay, options.ema_warmup);
}

std::optional<MasterWeights> WeightUpdate::make_masters(std::vector<NamedTensor>& trainable) {
  if (!keeps_masters(options_, trainable.front().tensor.device())) return std::nullopt;
  MasterWeights masters(trainable, layout_, shard_, places_.tensors, places_.pieces);
  if (options_.precision == Precision::kBFloat16) make_bfloat16(trainable);
  return masters;
}

template <typename Store, typename... More>
std::unique_ptr<ParameterStore> WeightUpdate::make_store_of(Communicator& communicator,
                                                            More... more) {
  return std::make_unique<Store>(trainable_, layout_, shard_, communicator, more...);
}

std::unique_ptr<ParameterStore> WeightUpdate::make_store(ParameterForm form) {
  switch (form) {
    case ParameterForm::kReplicated:
      return make_store_of<ReplicatedParameters>(places_.tensors);
    case ParameterForm::kMirrored:
      return make_store_of<MirroredParameters>(places_.host);
    case ParameterForm::kShared:
      return make_store_of<SharedParameters>(places_.host);
    case ParameterForm::kNode:
      return make_store_of<NodeParameters>(places_.host);
    case ParameterForm::kGathered:
      return make_store_of<GatheredParameters>(places_.host,
                                               static_cast<std::size_t>(options_.prefetch_units));
  }
  throw InternalError("parameters: a form that is none");
}

float* WeightUpdate::weights(std::size_t bucket) {
  return masters_ ? masters_->piece(bucket) : parameters_->piece(bucket).mutable_data_ptr<float>();
}

PieceMemory WeightUpdate::memory(GradientBuffers& gradients, std::size_t bucket) {
  return {shard_.pieces[bucket].flat, weights(bucket), gradients.reduced(bucket)};
}

double WeightUpdate::update(GradientBuffers& gradients, double divisor, double learning_rate,
                            std::int64_t step) {
  for (const std::size_t b : gradients.order()) norm_.add_piece(b, gradients.reduced(b));
  const double norm = norm_.reduce(places_.host) / divisor;
  if (!std::isfinite(norm)) return norm;
  UpdateNumbers numbers{learning_rate, 1.0 / divisor, norm, step};
  clip(gradients, divisor, numbers);
  parameters_->begin_update();
  optimizer_.prepare(places_.host, numbers, [&](std::size_t b) { return memory(gradients, b); });
  for (const std::size_t b : gradients.order()) update_bucket(gradients, b, numbers);
  parameters_->finish_update();
  return norm;
}

void WeightUpdate::clip(GradientBuffers& gradients, double divisor, UpdateNumbers& numbers) {
  if (options_.clip_norm > 0 && numbers.gradient_norm > options_.clip_norm) {
    const double factor = options_.clip_norm / numbers.gradient_norm;
    numbers.gradient_scale = factor / divisor;
    numbers.gradient_norm = options_.clip_norm;
  }
  if (options_.clip_value == 0) return;
  for (const std::size_t b : gradients.order()) {  // in place: what is left is the mean gradient
    places_.pieces.scale_and_clamp(gradients.reduced(b), shard_.pieces[b].flat.numel(),
                                   static_cast<float>(1.0 / divisor),
                                   static_cast<float>(options_.clip_value));
  }
  numbers.gradient_scale = 1.0;
}

void WeightUpdate::update_bucket(GradientBuffers& gradients, std::size_t bucket,
                                 const UpdateNumbers& numbers) {
  const PieceMemory piece = memory(gradients, bucket);
  const bool on_cpu = trainable_.front().tensor.device().is_cpu();
  const std::int64_t step = on_cpu ? kCachedNumel : piece.range.numel();
  for (std::int64_t begin = piece.range.begin; begin < piece.range.end; begin += step) {
    const PieceMemory part = piece.part({begin, std::min(begin + step, piece.range.end)});
    optimizer_.update(bucket, part, numbers);
    if (average_) average_->add(bucket, part.range, part.parameters, numbers.step);
    updated(bucket, part.range);
  }
  parameters_->publish(bucket);
}

void WeightUpdate::updated(std::size_t bucket, FlatRange range) {
  if (masters_) {
    const std::int64_t skip = range.begin - shard_.pieces[bucket].flat.begin;
    masters_->copy_to(bucket, range, parameters_->piece(bucket).narrow(0, skip, range.numel()));
  }
  parameters_->updated(range);
}

void WeightUpdate::publish(std::size_t bucket) {
  updated(bucket, shard_.pieces[bucket].flat);
  parameters_->publish(bucket);
}

void WeightUpdate::changed() {
  parameters_->begin_update();
  for (std::size_t b = 0; masters_ && b < layout_.buckets.size(); ++b) publish(b);
  parameters_->finish_update();
}

void WeightUpdate::swap_average() {
  parameters_->begin_update();
  for (std::size_t b = 0; b < layout_.buckets.size(); ++b) {
    average_->swap(b, weights(b));
    publish(b);
  }
  parameters_->finish_update();
}

void WeightUpdate::add_weights(StateList& list) const {
  for (std::size_t i = 0; i < trainable_.size(); ++i) {
    list.add_parameter(i, masters_ ? masters_->held(i) : parameters_->held(i),
                       masters_ ? shard_.parts == 1 : parameters_->replicated());
  }
}

void WeightUpdate::add_optimizer(StateList& list) const {
  for (const auto& [name, shard] : optimizer_.state())
    list.add_shard("optimizer." + name + ".", shard);
  for (const auto& [name, parameter, tensor] : optimizer_.whole_state())
    list.add_whole("optimizer." + name + "." + trainable_[parameter].name, tensor);
  if (average_) list.add_shard("ema.", average_->values());
}

}  // namespace muster::internal
