// A dataset of tensors in memory, such as images and labels.
#ifndef MUSTER_DATA_LOADER_TENSOR_DATASET_H_
#define MUSTER_DATA_LOADER_TENSOR_DATASET_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "muster/data_loader/dataset.h"

namespace muster {

/// How uint8 values become float32: (value / 255 - mean) / stddev, as (value - 255 mean) * (1 /
/// (255 stddev)) with both constants rounded to float32 once, so that the bits are the same on
/// every machine. One mean and stddev for all values, or one a channel (dimension 1 of [samples,
/// channels, ...]).
struct FloatConversion {
  std::vector<double> mean{0.0};
  std::vector<double> stddev{1.0};
};

/// Column i of sample s is row s of tensor i. Tensors stay in memory as they were given, images as
/// uint8.
class TensorDataset : public Dataset {
 public:
  struct Column {
    std::string name;
    /// [samples, ...], on the CPU. Made contiguous; otherwise shared with the caller, who must not
    /// change it.
    at::Tensor values;
    /// Given for uint8 values: get() returns float32. Memory keeps the uint8.
    std::optional<FloatConversion> to_float = std::nullopt;
  };

  /// Throws ConfigError, naming the column, when the columns disagree on the number of samples,
  /// when a name is empty or taken, when values are not on the CPU or have no first dimension, and
  /// when a conversion does not fit its column.
  explicit TensorDataset(std::vector<Column> columns);

  std::int64_t size() const override { return size_; }
  /// Throws InternalError for an id outside 0 .. size()-1. Any thread.
  Batch get(std::span<const std::int64_t> sample_ids) const override;

 private:
  struct Conversion {  // value -> (value - offset) * factor, one pair a channel
    std::vector<float> offsets;
    std::vector<float> factors;
    std::int64_t values_per_channel = 0;
  };
  struct StoredColumn {
    std::string name;
    at::Tensor values;
    std::optional<Conversion> conversion;
  };

  static Conversion plan_conversion(const Column& column);
  static at::Tensor gather(const StoredColumn& column, std::span<const std::int64_t> sample_ids);

  std::int64_t size_ = 0;
  std::vector<StoredColumn> columns_;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_TENSOR_DATASET_H_
