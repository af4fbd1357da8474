// A batch: named tensors with one row a sample, and the ids of the samples.
#ifndef MUSTER_DATA_LOADER_BATCH_H_
#define MUSTER_DATA_LOADER_BATCH_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace muster {

/// A value: copies share the tensors' memory. Row i of each tensor belongs to sample_ids[i].
struct Batch {
  std::vector<std::pair<std::string, at::Tensor>> tensors;
  std::vector<std::int64_t> sample_ids;

  /// Number of samples.
  std::int64_t size() const { return static_cast<std::int64_t>(sample_ids.size()); }

  /// The tensor called `name`. Throws ConfigError listing the names when there is none.
  const at::Tensor& operator[](std::string_view name) const;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_BATCH_H_
