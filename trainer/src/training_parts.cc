// The user's objects, asked for and checked.
#include "training_parts.h"

#include <torch/nn/module.h>

#include <string>
#include <utility>

#include "muster/base/error.h"
#include "seeding.h"
#include "user_code.h"

namespace muster::internal {

std::shared_ptr<torch::nn::Module> build_model(Trainer& trainer) {
  seed_default_generators(
      stream_seed(static_cast<std::uint64_t>(trainer.options.seed), StreamPurpose::kModelInit),
      at::kCPU);
  return call_user_code("build_model()", [&] {
    auto model = trainer.build_model();
    if (model == nullptr)
      throw UserError("build_model(): expected a module, found nullptr; return the model");
    if (!trainer.device().is_cpu()) model->to(trainer.device());
    return model;
  });
}

Batch on_device(Batch batch, at::Device device) {
  for (auto& [name, tensor] : batch.tensors) tensor = tensor.to(device);
  return batch;
}

std::unique_ptr<DataLoader> make_loader(Trainer& trainer, const LogicalRange& run) {
  auto dataset = call_user_code("train_dataset()", [&] { return trainer.train_dataset(); });
  if (dataset == nullptr)
    throw UserError("train_dataset(): expected a data set, found nullptr; return one");
  const TrainerOptions& options = trainer.options;
  LoaderOptions loader;
  loader.logical_ranks = static_cast<int>(options.logical_ranks);
  loader.first_logical_rank = run.begin;
  loader.end_logical_rank = run.end;
  loader.accumulation_steps = options.accumulation_steps;
  loader.micro_batch = options.micro_batch;
  loader.seed = static_cast<std::uint64_t>(options.seed);
  loader.drop_last = options.drop_last;
  loader.prefetch_batches = static_cast<int>(options.prefetch);
  return std::make_unique<DataLoader>(std::move(dataset), loader);
}

EngineOptions engine_options_of(const Trainer& trainer) {
  EngineOptions options = trainer.options.engine_options();
  options.decays = [&trainer](const std::string& name, const at::Tensor& parameter) {
    return trainer.decays(name, parameter);
  };
  return options;
}

}  // namespace muster::internal
