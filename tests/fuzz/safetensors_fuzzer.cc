// libFuzzer: any bytes as a safetensors file. What is accepted is read whole, written, and must say
// the same when it is read again.
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <string>
#include <vector>

#include "checkpoint/memory_env.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/checkpoint/safetensors.h"

namespace {

using namespace muster::checkpoint;

std::vector<std::byte> read_whole(const SafetensorsFile& file, const std::string& name) {
  const TensorRange range = file.whole(name);
  std::vector<std::byte> data(static_cast<std::size_t>(range.bytes()));
  file.read(range, data.data());
  return data;
}

void rewrite(const SafetensorsFile& file, MemoryEnv& env) {
  std::vector<TensorRange> tensors;
  for (const auto& [name, entry] : file.tensors()) tensors.push_back(file.whole(name));
  write_safetensors(
      "/written", tensors, file.metadata(),
      [&](const TensorRange& range, void* out) { file.read(range, out); }, env);
  const SafetensorsFile written = SafetensorsFile::open("/written", env);
  MUSTER_CHECK(written.metadata() == file.metadata());
  MUSTER_CHECK_EQ(written.tensors().size(), file.tensors().size());
  for (const auto& [name, entry] : file.tensors()) {
    MUSTER_CHECK(written.whole(name) == file.whole(name)) << name;
    MUSTER_CHECK(read_whole(written, name) == read_whole(file, name)) << name;
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  MemoryEnv env;
  env.create_file("/fuzzed")->write_at(0, data, bytes);
  try {
    rewrite(SafetensorsFile::open("/fuzzed", env), env);
  } catch (const muster::CheckpointError&) {
  }
  return 0;
}
