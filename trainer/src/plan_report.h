// What `muster plan` prints: a trainer's memory at each world size and ZeRO stage.
#ifndef MUSTER_TRAINER_SRC_PLAN_REPORT_H_
#define MUSTER_TRAINER_SRC_PLAN_REPORT_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/trainer/trainer.h"

namespace muster::internal {

/// As the launcher writes it into MUSTER_PLAN.
struct PlanRequest {
  std::vector<int> world_sizes;  ///< Empty: 1, 2, 4 ... to the number of logical ranks.
  std::int64_t memory_bytes = 0;

  /// Throws ConfigError.
  static PlanRequest from_json(const std::string& text);
};

/// What does not depend on stage or world size.
struct MeasuredMemory {
  std::int64_t parameters = 0;        ///< Trainable, in elements.
  std::int64_t kept_activations = 0;  ///< Bytes that wait for the backward pass of a micro-batch.
  std::int64_t activations = 0;       ///< Bytes at the peak of its two passes.
  std::int64_t process = 0;           ///< Bytes of the process without any of these.
};

/// Of logical rank 0.
Batch first_micro_batch(Trainer& trainer);

/// Runs the trainer's `model` on one micro-batch, without an update.
MeasuredMemory measure_memory(Trainer& trainer, torch::nn::Module& model, const Batch& batch);

/// How many machines with `memory_bytes` for the job a world needs; 0: no rank fits on one.
int machines_needed(std::int64_t bytes_a_rank, int world_size, std::int64_t memory_bytes);

/// The whole report. Throws ConfigError for a world size above the number of logical ranks.
std::string plan_report(Trainer& trainer, const std::string& program, const PlanRequest& request);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_PLAN_REPORT_H_
