// Joins the metrics of all logical ranks.
#ifndef MUSTER_TRAINER_SRC_METRIC_EXCHANGE_H_
#define MUSTER_TRAINER_SRC_METRIC_EXCHANGE_H_

#include <vector>

#include "muster/base/json.h"
#include "muster/collectives/communicator.h"
#include "muster/collectives/reduction_tree.h"
#include "muster/trainer/metrics.h"

namespace muster::internal {

/// Collective. `leaves` are those of this rank's logical ranks, in order. Sums in tree order, the
/// same bits on every rank and at every world size. Logical rank 0's names count: throws Mismatch
/// where another adds more.
MetricSums join_metrics(Communicator& communicator, int logical_ranks, LogicalRange run,
                        const std::vector<MetricSums>& leaves);

/// As metrics.jsonl has it: a number each; confusion matrices with their counts and what follows.
Json metrics_to_json(const MetricSums& sums);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_METRIC_EXCHANGE_H_
