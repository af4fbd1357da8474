// What a data loader reads from: samples numbered from 0, any of them at any time.
#ifndef MUSTER_DATA_LOADER_DATASET_H_
#define MUSTER_DATA_LOADER_DATASET_H_

#include <cstdint>
#include <span>

#include "muster/data_loader/batch.h"

namespace muster {

/// Samples 0 .. size()-1. The same id always gives the same bits, on every rank and in every run:
/// the promise that a job can be resumed anywhere rests on it.
class Dataset {
 public:
  virtual ~Dataset() = default;

  /// Number of samples; never changes.
  virtual std::int64_t size() const = 0;

  /// The samples `sample_ids`, in that order: row i of every tensor and entry i of the result's
  /// `sample_ids` belong to sample_ids[i]. Called from loader threads, several at once; may block.
  /// Throws DataError for a damaged sample. Prefer plain loops to ATen operations that run in
  /// parallel: each thread that calls those gets threads of its own, which compete with the
  /// training step's.
  virtual Batch get(std::span<const std::int64_t> sample_ids) const = 0;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_DATASET_H_
