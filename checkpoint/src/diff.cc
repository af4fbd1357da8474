// Bit comparison, a chunk of both at a time.
#include "muster/checkpoint/diff.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <set>
#include <utility>

#include "canonical_json.h"

namespace muster::checkpoint {
namespace {

std::string elements_text(std::int64_t count, std::int64_t numel, std::int64_t first) {
  return std::to_string(count) + " of " + std::to_string(numel) +
         " elements differ, the first at flat index " + std::to_string(first);
}

class TensorComparison {
 public:
  TensorComparison(const Checkpoint& first, const Checkpoint& second)
      : first_(first),
        second_(second),
        first_chunk_(static_cast<std::size_t>(kChunkBytes)),
        second_chunk_(static_cast<std::size_t>(kChunkBytes)) {}

  /// Nothing when all bits are equal. Both have the tensor with this dtype and shape.
  std::optional<TensorDifference> compare(const std::string& name, const TensorEntry& entry) {
    TensorDifference difference{.tensor = name, .kind = DifferenceKind::kBits};
    const std::int64_t step = kChunkBytes / dtype_bytes(entry.dtype);
    const std::int64_t numel = entry.numel();
    for (std::int64_t begin = 0; begin < numel; begin += step) {
      compare_chunk({name, entry.dtype, entry.shape, begin, std::min(begin + step, numel)},
                    &difference);
    }
    if (difference.differing_elements == 0) return std::nullopt;
    difference.message =
        name + ": " + elements_text(difference.differing_elements, numel, difference.first_element);
    return difference;
  }

 private:
  void compare_chunk(const TensorRange& range, TensorDifference* difference) {
    first_.read(range, first_chunk_.data());
    second_.read(range, second_chunk_.data());
    if (std::memcmp(first_chunk_.data(), second_chunk_.data(),
                    static_cast<std::size_t>(range.bytes())) == 0) {
      return;
    }
    difference->distance.merge(
        distance(range.dtype, first_chunk_.data(), second_chunk_.data(), range.numel()));
    const auto element_bytes = static_cast<std::size_t>(dtype_bytes(range.dtype));
    for (std::int64_t i = 0; i < range.numel(); ++i) {
      const std::size_t at = static_cast<std::size_t>(i) * element_bytes;
      if (std::memcmp(&first_chunk_[at], &second_chunk_[at], element_bytes) == 0) continue;
      if (difference->differing_elements++ == 0) difference->first_element = range.begin + i;
    }
  }

  const Checkpoint& first_;
  const Checkpoint& second_;
  std::vector<std::byte> first_chunk_;
  std::vector<std::byte> second_chunk_;
};

TensorDifference only_in(const Checkpoint& checkpoint, DifferenceKind kind,
                         const std::string& name) {
  return {.tensor = name,
          .kind = kind,
          .message = name + ": only in " + checkpoint.directory().string()};
}

/// Different dtype or shape; nothing when the bits are to be compared.
std::optional<TensorDifference> compare_headers(const std::string& name, const TensorEntry& a,
                                                const TensorEntry& b) {
  if (a.dtype == b.dtype && a.shape == b.shape) return std::nullopt;
  const auto text = [&](const TensorEntry& entry) {
    return describe({name, entry.dtype, entry.shape, 0, entry.numel()});
  };
  return TensorDifference{
      .tensor = name,
      .kind = a.dtype != b.dtype ? DifferenceKind::kDtype : DifferenceKind::kShape,
      .message = name + ": " + text(a) + " against " + text(b)};
}

std::vector<std::string> compare_progress(const Json& a, const Json& b) {
  using internal::canonical_json;
  if (canonical_json(a) == canonical_json(b)) return {};
  const auto line = [](const std::string& key, const std::string& in_a, const std::string& in_b) {
    return key + ": " + in_a + " against " + in_b;
  };
  if (!a.is_object() || !b.is_object()) {
    return {line("progress", canonical_json(a), canonical_json(b))};
  }
  std::set<std::string> keys;
  for (const auto& item : a.items()) keys.insert(item.key());
  for (const auto& item : b.items()) keys.insert(item.key());
  std::vector<std::string> lines;
  for (const std::string& key : keys) {
    const std::string in_a = a.contains(key) ? canonical_json(a[key]) : "absent";
    const std::string in_b = b.contains(key) ? canonical_json(b[key]) : "absent";
    if (in_a != in_b) lines.push_back(line("progress." + key, in_a, in_b));
  }
  return lines;
}

}  // namespace

DiffResult diff(const Checkpoint& first, const Checkpoint& second) {
  const auto& a = first.manifest().tensors;
  const auto& b = second.manifest().tensors;
  std::set<std::string> names;
  for (const auto& [name, entry] : a) names.insert(name);
  for (const auto& [name, entry] : b) names.insert(name);
  DiffResult result;
  TensorComparison comparison(first, second);
  for (const std::string& name : names) {
    const auto in_a = a.find(name);
    const auto in_b = b.find(name);
    std::optional<TensorDifference> difference;
    if (in_b == b.end()) {
      difference = only_in(first, DifferenceKind::kOnlyInFirst, name);
    } else if (in_a == a.end()) {
      difference = only_in(second, DifferenceKind::kOnlyInSecond, name);
    } else {
      ++result.compared_tensors;
      difference = compare_headers(name, in_a->second, in_b->second);
      if (!difference) difference = comparison.compare(name, in_a->second);
    }
    if (difference) result.tensors.push_back(*std::move(difference));
  }
  result.progress = compare_progress(internal::progress_of(first.manifest().run_state),
                                     internal::progress_of(second.manifest().run_state));
  return result;
}

}  // namespace muster::checkpoint
