// A dataset whose content follows from its ids, and which lets a test watch its calls.
#ifndef MUSTER_TESTS_DATA_LOADER_NUMBER_DATASET_H_
#define MUSTER_TESTS_DATA_LOADER_NUMBER_DATASET_H_

#include <ATen/ops/empty.h>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <utility>

#include "muster/data_loader/dataset.h"

namespace muster {

// Sample i has the value 10 i. `hook` sees every call.
class NumberDataset : public Dataset {
 public:
  using Hook = std::function<void(std::span<const std::int64_t>)>;
  explicit NumberDataset(std::int64_t size, Hook hook = {}) : size_(size), hook_(std::move(hook)) {}

  std::int64_t size() const override { return size_; }
  Batch get(std::span<const std::int64_t> sample_ids) const override {
    if (hook_) hook_(sample_ids);
    at::Tensor values = at::empty({static_cast<std::int64_t>(sample_ids.size())}, at::kLong);
    std::transform(sample_ids.begin(), sample_ids.end(), values.mutable_data_ptr<std::int64_t>(),
                   [](std::int64_t id) { return 10 * id; });
    return {{{"value", values}}, {sample_ids.begin(), sample_ids.end()}};
  }

 private:
  std::int64_t size_;
  Hook hook_;
};

inline std::shared_ptr<NumberDataset> numbers(std::int64_t size, NumberDataset::Hook hook = {}) {
  return std::make_shared<NumberDataset>(size, std::move(hook));
}

}  // namespace muster

#endif  // MUSTER_TESTS_DATA_LOADER_NUMBER_DATASET_H_
