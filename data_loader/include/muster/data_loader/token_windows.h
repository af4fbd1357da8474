// Windows of a long token sequence, for language models that predict the next token.
#ifndef MUSTER_DATA_LOADER_TOKEN_WINDOWS_H_
#define MUSTER_DATA_LOADER_TOKEN_WINDOWS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <span>

#include "muster/data_loader/dataset.h"

namespace muster {

/// Sample s is tokens [s * length, s * length + length]: "input" the first `length` of them,
/// "target" the last, so every token but the first is a target once an epoch; the up to length - 1
/// left over at the end are not used.
class TokenWindows : public Dataset {
 public:
  /// `tokens`: 1-D, uint8 or int64, on the CPU; shared with the caller, who must not change it.
  /// Throws ConfigError for other tensors, for length < 1, and for fewer than length + 1 tokens.
  TokenWindows(at::Tensor tokens, std::int64_t length);

  std::int64_t size() const override { return size_; }
  /// "input" and "target": int64 [sample_ids.size(), length]. Throws InternalError for an id
  /// outside 0 .. size()-1. Any thread.
  Batch get(std::span<const std::int64_t> sample_ids) const override;

 private:
  at::Tensor tokens_;
  std::int64_t length_;
  std::int64_t size_ = 0;
};

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_TOKEN_WINDOWS_H_
