// libFuzzer: any bytes as a manifest, under a checksum that is right, since a fuzzer would never
// find one. What is accepted must say the same when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "manifest_checks.h"
#include "muster/base/check.h"
#include "muster/base/error.h"
#include "muster/checkpoint/manifest.h"
#include "sealed_json.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  using muster::checkpoint::Manifest;
  std::string text(reinterpret_cast<const char*>(data), bytes);
  text += muster::checkpoint::internal::seal(text);
  try {
    const Manifest manifest = Manifest::from_text(text, "fuzzed");
    muster::checkpoint::internal::pieces_by_file(manifest);
    const std::string written = manifest.to_text();
    MUSTER_CHECK(Manifest::from_text(written, "written").to_text() == written);
  } catch (const muster::CheckpointError&) {
  }
  return 0;
}
