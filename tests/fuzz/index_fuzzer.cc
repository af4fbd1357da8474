// libFuzzer: any bytes as the index of a model in two safetensors files. What is accepted must be
// those files' tensors, which can be read.
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "checkpoint/memory_env.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/checkpoint/safetensors_model.h"

namespace {

using namespace muster::checkpoint;

constexpr const char* kIndex = "/model.safetensors.index.json";

void write_file(const std::string& path, const std::vector<std::string>& names, MemoryEnv& env) {
  std::vector<TensorRange> tensors;
  for (const std::string& name : names)
    tensors.push_back(whole_tensor(name, muster::DType::kUInt8, {3}));
  write_safetensors(
      path, tensors, {},
      [](const TensorRange& range, void* out) {
        for (std::int64_t i = 0; i < range.bytes(); ++i) static_cast<char*>(out)[i] = 7;
      },
      env);
}

MemoryEnv& two_files() {
  static MemoryEnv env;
  if (!env.exists("/a.safetensors")) {
    write_file("/a.safetensors", {"w", "x"}, env);
    write_file("/b.safetensors", {"y"}, env);
  }
  return env;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  MemoryEnv& env = two_files();
  env.create_file(kIndex)->write_at(0, data, bytes);
  try {
    const SafetensorsModel model = SafetensorsModel::open(kIndex, env);
    MUSTER_CHECK(!model.tensors().empty());
    for (const auto& [name, whole] : model.tensors()) {
      MUSTER_CHECK(name == "w" || name == "x" || name == "y") << name;
      std::vector<std::byte> read(static_cast<std::size_t>(whole.bytes()));
      model.read(whole, read.data());
      MUSTER_CHECK(read == std::vector<std::byte>(3, std::byte{7})) << name;
    }
  } catch (const muster::CheckpointError&) {
  }
  return 0;
}
