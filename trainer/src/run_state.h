// What a checkpoint says beside tensors: where the job is, what the job is, and under which
// circumstances it was written.
#ifndef MUSTER_TRAINER_SRC_RUN_STATE_H_
#define MUSTER_TRAINER_SRC_RUN_STATE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "muster/base/json.h"
#include "muster/base/options.h"
#include "muster/trainer/precision.h"

namespace muster::internal {

/// Where a job is. Part of the state hash.
struct JobProgress {
  std::int64_t step = 0;
  std::int64_t epoch = 0;
  std::int64_t position = 0;  ///< Samples of this epoch's order that are done.
  std::uint64_t ledger = 0;   ///< Hash of the ids of all samples so far, in order of steps.
  double tokens = 0;          ///< Of all losses' weights: samples where those are none.
  LossScale loss_scale;

  Json to_json() const;
  /// Throws CheckpointError naming `origin`.
  static JobProgress from_json(const Json& json, const std::string& origin);
};

/// The options that define the computation, with their values.
Json job_definition(const OptionSet& options);
/// All others.
Json circumstance_options(const OptionSet& options);

/// One line for each entry in which `found` differs from `expected`: "micro-batch: expected 32,
/// found 64".
std::vector<std::string> differences(const Json& expected, const Json& found);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_RUN_STATE_H_
