// Shapes, cuts, bytes and hash of the made-up state.
#include "made_up_state.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "muster/base/hash.h"

namespace muster::testing {
namespace {

using checkpoint::TensorRange;
using checkpoint::whole_tensor;

constexpr std::int64_t kBlockElements = 1024;
constexpr int kLayers = 1;

struct Parameter {
  std::string name;
  std::vector<std::int64_t> shape;
};

/// A transformer of this width: 12 width^2 a layer, and an embedding as large as a layer.
std::vector<Parameter> parameters(std::int64_t width) {
  std::vector<Parameter> all = {{"embedding.weight", {12 * width, width}}};
  for (int layer = 0; layer < kLayers; ++layer) {
    const std::string place = "layers." + std::to_string(layer);
    all.push_back({place + ".norm.weight", {width}});
    all.push_back({place + ".attention.in.weight", {3 * width, width}});
    all.push_back({place + ".attention.in.bias", {3 * width}});
    all.push_back({place + ".attention.out.weight", {width, width}});
    all.push_back({place + ".up.weight", {4 * width, width}});
    all.push_back({place + ".up.bias", {4 * width}});
    all.push_back({place + ".down.weight", {width, 4 * width}});
  }
  return all;
}

std::int64_t block_cut(std::int64_t numel, int part, int parts) {
  const std::int64_t blocks = (numel + kBlockElements - 1) / kBlockElements;
  return std::min(numel, blocks * part / parts * kBlockElements);
}

template <typename Integer>
void update_integer(Hash128& hash, Integer value) {
  hash.update(&value, sizeof(value));
}

/// Word `index` of a tensor whose place and step are mixed into `base`: SplitMix64's sequence.
std::uint64_t word_at(std::uint64_t base, std::uint64_t index) {
  std::uint64_t z = base + (index + 1) * 0x9e3779b97f4a7c15u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  return z ^ (z >> 31);
}

}  // namespace

MadeUpState::MadeUpState(std::uint64_t seed, std::int64_t kilobytes) : seed_(seed) {
  // Three float32 spaces of 12 width^2 (layers + 1) elements each.
  const double elements = static_cast<double>(std::max<std::int64_t>(kilobytes, 20)) * 1000 / 12;
  const auto width =
      std::max<std::int64_t>(5, std::llround(std::sqrt(elements / (12 * (kLayers + 1)))));
  for (const char* space : {"model/", "optimizer/exp_avg/", "optimizer/exp_avg_sq/"}) {
    for (const Parameter& parameter : parameters(width)) {
      tensors_.push_back(whole_tensor(space + parameter.name, DType::kFloat32, parameter.shape));
    }
  }
  tensors_.push_back(whole_tensor("model/norm.num_batches_tracked", DType::kInt64, {}));
  tensors_.push_back(whole_tensor("model/half", DType::kBFloat16, {7, 11}));
}

std::int64_t MadeUpState::bytes() const {
  std::int64_t bytes = 0;
  for (const TensorRange& tensor : tensors_) bytes += tensor.bytes();
  return bytes;
}

std::vector<TensorRange> MadeUpState::shard(int rank, int world_size) const {
  std::int64_t numel = 0;
  for (const TensorRange& tensor : tensors_) numel += tensor.numel();
  const std::int64_t begin = block_cut(numel, rank, world_size);
  const std::int64_t end = block_cut(numel, rank + 1, world_size);
  std::vector<TensorRange> ranges;
  std::int64_t at = 0;  // of the tensor in the flat space
  for (const TensorRange& tensor : tensors_) {
    TensorRange range = tensor;
    range.begin = std::clamp<std::int64_t>(begin - at, 0, tensor.numel());
    range.end = std::clamp<std::int64_t>(end - at, 0, tensor.numel());
    if (range.numel() > 0) ranges.push_back(range);
    at += tensor.numel();
  }
  return ranges;
}

void MadeUpState::fill(const TensorRange& range, std::int64_t step, std::byte* out) const {
  const std::uint64_t base = mix64(hash64(range.name, seed_), static_cast<std::uint64_t>(step));
  const auto begin = static_cast<std::uint64_t>(range.begin * dtype_bytes(range.dtype));
  const auto end = static_cast<std::uint64_t>(range.end * dtype_bytes(range.dtype));
  for (std::uint64_t at = begin; at < end;) {
    const std::uint64_t word = word_at(base, at / 8);
    const std::uint64_t skip = at % 8;
    const std::uint64_t bytes = std::min(8 - skip, end - at);
    std::memcpy(out, reinterpret_cast<const char*>(&word) + skip, bytes);
    out += bytes;
    at += bytes;
  }
}

Json MadeUpState::run_state(std::int64_t step, int world_size) const {
  return {{"progress", {{"epoch", step / 100}, {"position", step * 64}, {"step", step}}},
          {"job", {{"seed", seed_}}},
          {"circumstances", {{"world_size", world_size}}}};
}

std::string MadeUpState::hash(std::int64_t step) const {
  std::vector<TensorRange> sorted = tensors_;
  std::sort(sorted.begin(), sorted.end(),
            [](const TensorRange& a, const TensorRange& b) { return a.name < b.name; });
  Hash128 hash;
  hash.update("muster-state-1");
  update_integer(hash, static_cast<std::uint64_t>(sorted.size()));
  std::vector<std::byte> data;
  for (const TensorRange& tensor : sorted) {
    update_integer(hash, static_cast<std::uint64_t>(tensor.name.size()));
    hash.update(tensor.name);
    update_integer(hash, static_cast<std::uint8_t>(tensor.dtype));
    update_integer(hash, static_cast<std::uint64_t>(tensor.shape.size()));
    for (const std::int64_t dim : tensor.shape) update_integer(hash, dim);
    data.resize(static_cast<std::size_t>(tensor.bytes()));
    fill(tensor, step, data.data());
    hash.update(data.data(), data.size());
  }
  const std::string progress = "{\"epoch\":" + std::to_string(step / 100) +
                               ",\"position\":" + std::to_string(step * 64) +
                               ",\"step\":" + std::to_string(step) + "}";
  update_integer(hash, static_cast<std::uint64_t>(progress.size()));
  hash.update(progress);
  return hash.hex();
}

}  // namespace muster::testing
