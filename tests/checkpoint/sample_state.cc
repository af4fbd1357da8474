// Making, sharding and comparing sample states.
#include "sample_state.h"

#include <cstdlib>
#include <cstring>
#include <random>
#include <utility>

#include "muster/checkpoint/safetensors.h"

namespace muster::checkpoint {
namespace {

std::vector<TensorRange> sample_tensors(bool large) {
  std::vector<TensorRange> tensors = {
      whole_tensor("layer1.0.conv.weight", DType::kFloat32, {16, 3, 3, 3}),
      whole_tensor("layer1.0.conv.bias", DType::kFloat32, {16}),
      whole_tensor("layer1.0.bn.num_batches_tracked", DType::kInt64, {}),
      whole_tensor("head.weight", DType::kFloat64, {10, 97}),
      whole_tensor("half", DType::kFloat16, {5, 5}),
      whole_tensor("brain", DType::kBFloat16, {3, 11}),
      whole_tensor("mask", DType::kBool, {13}),
      whole_tensor("bytes", DType::kUInt8, {1000}),
      whole_tensor("int8", DType::kInt8, {3}),
      whole_tensor("int16", DType::kInt16, {3, 1}),
      whole_tensor("int32", DType::kInt32, {1, 2}),
      whole_tensor("nothing", DType::kFloat32, {0, 4}),
      whole_tensor("optimizer/exp_avg 100% \xc3\xa9", DType::kFloat32, {700}),
  };
  // Three chunks of 1 MiB, the last of them short.
  if (large) tensors.push_back(whole_tensor("embedding", DType::kFloat32, {601, 1000}));
  return tensors;
}

SampleState filled(std::vector<TensorRange> tensors, std::uint64_t seed) {
  std::mt19937_64 random(seed);
  SampleState state;
  for (TensorRange& whole : tensors) {
    std::vector<std::byte> data(static_cast<std::size_t>(whole.bytes()));
    // A bool is 0 or 1, whatever the seed.
    const std::uint64_t mask = whole.dtype == DType::kBool ? 1 : 255;
    for (std::byte& byte : data) byte = static_cast<std::byte>((random() >> 7) & mask);
    state.push_back({std::move(whole), std::move(data)});
  }
  return state;
}

}  // namespace

SampleState sample_state(std::uint64_t seed, bool large) {
  return filled(sample_tensors(large), seed);
}

SampleState larger_state(std::uint64_t seed) {
  std::vector<TensorRange> tensors = sample_tensors(true);
  tensors.push_back(whole_tensor("large", DType::kFloat32, {7, 524'288}));
  return filled(std::move(tensors), seed);
}

SampleState tiny_state(std::uint64_t seed) {
  return filled({whole_tensor("weight", DType::kFloat32, {5, 60})}, seed);
}

std::vector<SourceRange> shard_of(const SampleState& state, int rank, int world_size) {
  std::vector<SourceRange> sources;
  for (const SampleTensor& tensor : state) {
    TensorRange range = tensor.whole;
    const std::int64_t numel = tensor.whole.numel();
    range.begin = numel * rank / world_size;
    range.end = numel * (rank + 1) / world_size;
    const std::int64_t offset_bytes = range.begin * dtype_bytes(range.dtype);
    sources.push_back({std::move(range), tensor.data.data() + offset_bytes});
  }
  return sources;
}

Json sample_run_state(std::int64_t step, int world_size) {
  return {{"progress", {{"step", step}, {"epoch", 1}, {"position", step * 64}, {"loss", 0.1}}},
          {"job", {{"seed", 7}}},
          {"circumstances", {{"world_size", world_size}}}};
}

std::vector<ShardRecord> write_shards(const CheckpointStore& store, const SampleState& state,
                                      std::int64_t step, int world_size, int generation) {
  std::vector<ShardRecord> records;
  for (int rank = 0; rank < world_size; ++rank) {
    records.push_back(
        store.write_shard(step, generation, rank, world_size, shard_of(state, rank, world_size)));
  }
  return records;
}

std::filesystem::path save(const CheckpointStore& store, const SampleState& state,
                           std::int64_t step, int world_size, int generation) {
  return store.commit(step, generation, write_shards(store, state, step, world_size, generation),
                      sample_run_state(step, world_size));
}

void write_safetensors_of(const std::filesystem::path& path, const SampleState& state, Env& env,
                          const std::map<std::string, std::string>& metadata) {
  std::vector<TensorRange> tensors;
  std::map<std::string, const std::byte*> data;
  for (const SampleTensor& tensor : state) {
    tensors.push_back(tensor.whole);
    data[tensor.whole.name] = tensor.data.data();
  }
  write_safetensors(
      path, tensors, metadata,
      [&](const TensorRange& range, void* out) {
        std::memcpy(out, data.at(range.name) + range.begin * dtype_bytes(range.dtype),
                    static_cast<std::size_t>(range.bytes()));
      },
      env);
}

std::string first_difference(const Checkpoint& checkpoint, const SampleState& state) {
  for (const SampleTensor& tensor : state) {
    std::vector<std::byte> read(tensor.data.size());
    checkpoint.read(tensor.whole, read.data());
    if (read != tensor.data) return tensor.whole.name;
  }
  return "";
}

LoadedPart::LoadedPart(const SampleState& state, Reader reader, std::byte fill) {
  for (const SampleTensor& tensor : state) {
    TensorRange part = tensor.whole;
    part.begin = tensor.whole.numel() * reader.index / reader.count;
    part.end = tensor.whole.numel() * (reader.index + 1) / reader.count;
    memory.emplace_back(static_cast<std::size_t>(part.bytes()), fill);
    targets.push_back({part, memory.back().data()});
  }
}

std::string message_of(const std::function<void()>& action) {
  try {
    action();
  } catch (const CheckpointError& error) {
    return error.what();
  }
  return "no error";
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern =
      (std::filesystem::temp_directory_path() / "muster-checkpoint-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw InternalError("mkdtemp failed: " + pattern);
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace muster::checkpoint
