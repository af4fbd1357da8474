// Cuts windows out of the token sequence and widens them to int64.
#include "muster/data_loader/token_windows.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <string>
#include <utility>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

template <typename Token>
void copy_windows(const Token* tokens, std::int64_t length,
                  std::span<const std::int64_t> sample_ids, std::int64_t* input,
                  std::int64_t* target) {
  for (const std::int64_t id : sample_ids) {
    const Token* window = tokens + id * length;  // [length + 1]
    input = std::copy_n(window, length, input);
    target = std::copy_n(window + 1, length, target);
  }
}

std::string describe(const at::Tensor& tokens) {
  if (!tokens.defined()) return "an undefined tensor";
  return std::string(c10::toString(tokens.scalar_type())) + " with " +
         std::to_string(tokens.dim()) + " dimensions on " + tokens.device().str();
}

}  // namespace

TokenWindows::TokenWindows(at::Tensor tokens, std::int64_t length)
    : tokens_(std::move(tokens)), length_(length) {
  const bool usable = tokens_.defined() && tokens_.dim() == 1 && tokens_.device().is_cpu() &&
                      tokens_.layout() == at::kStrided &&
                      (tokens_.scalar_type() == at::kByte || tokens_.scalar_type() == at::kLong);
  if (!usable) {
    throw ConfigError(
        "TokenWindows: expected a 1-D tensor of uint8 or int64 tokens on the CPU; found " +
        describe(tokens_) + ". Flatten, move or convert it first");
  }
  if (length < 1) {
    throw ConfigError("TokenWindows: expected a length of at least 1 token; found " +
                      std::to_string(length) + ". Raise it");
  }
  // Without length + 1, which could overflow.
  if (tokens_.numel() - 1 < length) {
    throw ConfigError("TokenWindows: expected more tokens than the window's length of " +
                      std::to_string(length) + "; found " + std::to_string(tokens_.numel()) +
                      ". Give more text or a shorter window");
  }
  tokens_ = tokens_.contiguous();
  size_ = (tokens_.numel() - 1) / length;
}

Batch TokenWindows::get(std::span<const std::int64_t> sample_ids) const {
  for (const std::int64_t id : sample_ids) {
    MUSTER_CHECK(id >= 0 && id < size_) << "window " << id << " of " << size_;
  }
  const std::int64_t rows = static_cast<std::int64_t>(sample_ids.size());
  at::Tensor input = at::empty({rows, length_}, at::kLong);
  at::Tensor target = at::empty({rows, length_}, at::kLong);
  std::int64_t* input_data = input.mutable_data_ptr<std::int64_t>();
  std::int64_t* target_data = target.mutable_data_ptr<std::int64_t>();
  if (tokens_.scalar_type() == at::kByte) {
    copy_windows(tokens_.const_data_ptr<std::uint8_t>(), length_, sample_ids, input_data,
                 target_data);
  } else {
    copy_windows(tokens_.const_data_ptr<std::int64_t>(), length_, sample_ids, input_data,
                 target_data);
  }
  return {{{"input", std::move(input)}, {"target", std::move(target)}},
          {sample_ids.begin(), sample_ids.end()}};
}

}  // namespace muster
