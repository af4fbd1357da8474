// One micro-batch measured, the rest counted.
#include "plan_report.h"

#include <ATen/ops/zeros_like.h>
#include <malloc.h>
#include <torch/nn/module.h>

#include <algorithm>
#include <cstdio>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "allocation_meter.h"
#include "module_tensors.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/trainer/memory_plan.h"
#include "muster/trainer/precision.h"
#include "training_parts.h"
#include "user_code.h"

namespace muster::internal {
namespace {

double mib(std::int64_t bytes) { return static_cast<double>(bytes) / (1 << 20); }

/// This process's own memory: not the pages of libraries, which ranks share.
std::int64_t anonymous_bytes() {
  malloc_trim(0);
  std::ifstream in("/proc/self/status");
  for (std::string word; in >> word;) {
    std::int64_t kib = 0;
    if (word == "RssAnon:" && in >> kib) return kib * 1024;
  }
  return 0;
}

std::int64_t bytes_of(torch::nn::Module& model) {
  std::int64_t bytes = 0;
  for (const at::Tensor& tensor : model.parameters())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  for (const at::Tensor& tensor : model.buffers())
    bytes += static_cast<std::int64_t>(tensor.nbytes());
  return bytes;
}

/// A model's tensors in bfloat16, as an Engine would have them, for as long as this lives.
class Lowered {
 public:
  explicit Lowered(torch::nn::Module& model) {
    for (const at::Tensor& tensor : model.parameters()) lower(tensor);
    for (const at::Tensor& tensor : model.buffers()) lower(tensor);
  }
  ~Lowered() {
    for (auto& [tensor, original] : originals_) tensor.set_data(original);
  }
  Lowered(const Lowered&) = delete;
  Lowered& operator=(const Lowered&) = delete;

 private:
  void lower(at::Tensor tensor) {
    if (!tensor.is_floating_point() || tensor.scalar_type() == at::kBFloat16) return;
    originals_.emplace_back(tensor, tensor.detach());
    tensor.set_data(tensor.detach().to(at::kBFloat16));
  }

  std::vector<std::pair<at::Tensor, at::Tensor>> originals_;
};

std::vector<int> world_sizes(const Trainer& trainer, const PlanRequest& request) {
  const auto most = static_cast<int>(trainer.options.logical_ranks);
  if (request.world_sizes.empty()) {
    std::vector<int> sizes;
    for (int size = 1; size < most; size *= 2) sizes.push_back(size);
    sizes.push_back(most);
    return sizes;
  }
  for (const int size : request.world_sizes) {
    if (size >= 1 && size <= most) continue;
    throw ConfigError("--world-sizes: expected 1 to --logical-ranks (" + std::to_string(most) +
                      "), found " + std::to_string(size));
  }
  return request.world_sizes;
}

template <typename... Values>
std::string line(const char* format, const Values&... values) {
  char text[512];
  std::snprintf(text, sizeof(text), format, values...);
  return text;
}

/// At stage 3 ranks of several machines hold `blocks` of parameters besides.
std::string verdict(std::int64_t bytes_a_rank, std::int64_t blocks, int world_size,
                    std::int64_t memory) {
  if (machines_needed(bytes_a_rank, world_size, memory) == 1) return "fits";
  const int machines = machines_needed(bytes_a_rank + blocks, world_size, memory);
  if (machines == 0) return "does not fit: one rank needs more than a machine has";
  std::string text = "needs " + std::to_string(machines) + " such machines";
  if (blocks > 0) text += line(", with %.1f MiB of blocks a rank", mib(blocks));
  return text;
}

std::string heading(const Trainer& trainer, const std::string& program,
                    const MeasuredMemory& measured, std::int64_t memory_bytes) {
  const TrainerOptions& options = trainer.options;
  std::string text =
      line("%s: %.2f M parameters, %s, %s, %lld logical ranks\n", program.c_str(),
           static_cast<double>(measured.parameters) * 1e-6, options.optimizer.c_str(),
           options.precision.c_str(), static_cast<long long>(options.logical_ranks));
  text += line(
      "a micro-batch of %lld: %.1f MiB wait for the backward pass, %.1f MiB at the peak "
      "(measured%s)\n",
      static_cast<long long>(options.micro_batch), mib(measured.kept_activations),
      mib(measured.activations),
      options.activation_checkpointing ? ", with activation checkpointing" : "");
  text += line("memory of a machine: %.0f MiB\n\n", mib(memory_bytes));
  text += "                          MiB a rank\n";
  text +=
      "ranks stage  parameters  gradients  optimizer  activations  process     total  "
      "all ranks\n";
  return text;
}

}  // namespace

PlanRequest PlanRequest::from_json(const std::string& text) {
  const Json json = parse_json(text, "MUSTER_PLAN");
  PlanRequest request;
  request.memory_bytes = json_field<std::int64_t>(json, "memory_bytes", "MUSTER_PLAN");
  request.world_sizes = json_field<std::vector<int>>(json, "world_sizes", "MUSTER_PLAN");
  return request;
}

Batch first_micro_batch(Trainer& trainer) { return make_loader(trainer, {0, 1})->next().batch; }

MeasuredMemory measure_memory(Trainer& trainer, torch::nn::Module& model, const Batch& batch) {
  MeasuredMemory measured;
  const Precision precision = trainer.options.engine_options().precision;
  for (const NamedTensor& parameter : collect_tensors(model).trainable) {
    measured.parameters += parameter.tensor.numel();
    // There before, so that they are not taken for activations.
    parameter.tensor.mutable_grad() = at::zeros_like(parameter.tensor);
  }
  measured.process =
      std::max<std::int64_t>(0, anonymous_bytes() - bytes_of(model) - 4 * measured.parameters);
  std::optional<Lowered> lowered;
  if (precision == Precision::kBFloat16) lowered.emplace(model);
  const AllocationMeter meter;
  const Loss loss = call_user_code("compute_loss()", [&] {
    const Autocast autocast(precision);
    return trainer.compute_loss(batch);
  });
  measured.kept_activations = meter.live_bytes();
  call_user_code("backward", [&] { loss.mean.backward(); });
  measured.activations = meter.peak_bytes();
  return measured;
}

int machines_needed(std::int64_t bytes_a_rank, int world_size, std::int64_t memory_bytes) {
  const std::int64_t ranks = memory_bytes / std::max<std::int64_t>(1, bytes_a_rank);
  if (ranks == 0) return 0;
  return static_cast<int>((world_size + ranks - 1) / ranks);
}

std::string plan_report(Trainer& trainer, const std::string& program, const PlanRequest& request) {
  const std::vector<int> sizes = world_sizes(trainer, request);
  const std::shared_ptr<torch::nn::Module> model = build_model(trainer);
  const MeasuredMemory measured = measure_memory(trainer, *model, first_micro_batch(trainer));
  EngineOptions options = engine_options_of(trainer);
  std::string text = heading(trainer, program, measured, request.memory_bytes);
  for (const int size : sizes) {
    for (options.zero_stage = 0; options.zero_stage <= 3; ++options.zero_stage) {
      const MemoryUse use = plan_memory(*model, options, size);
      const std::int64_t total = use.total() + measured.activations + measured.process;
      text += line("%5d %5d  %10.1f %10.1f %10.1f %12.1f %8.1f %9.1f %10.1f  %s\n", size,
                   options.zero_stage, mib(use.parameters), mib(use.gradients), mib(use.optimizer),
                   mib(measured.activations), mib(measured.process), mib(total), mib(total * size),
                   verdict(total, use.blocks, size, request.memory_bytes).c_str());
    }
  }
  return text;
}

}  // namespace muster::internal
