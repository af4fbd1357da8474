// Asks a dataset for samples and says, when that fails, which sample it was.
#ifndef MUSTER_DATA_LOADER_SRC_FETCH_H_
#define MUSTER_DATA_LOADER_SRC_FETCH_H_

#include <cstdint>
#include <span>

#include "muster/data_loader/batch.h"
#include "muster/data_loader/dataset.h"

namespace muster::internal {

/// dataset.get(sample_ids), checked against the contract of Dataset. An error keeps its kind when
/// it is Muster's, or becomes a UserError; its message names the epoch, the position and the
/// samples. The samples are then read once more, one by one, to find the first that fails alone.
Batch fetch(const Dataset& dataset, std::span<const std::int64_t> sample_ids, std::int64_t epoch,
            std::int64_t position);

}  // namespace muster::internal

#endif  // MUSTER_DATA_LOADER_SRC_FETCH_H_
