// libFuzzer: any bytes as a record of a model registry, under a checksum that is right. The first
// byte says which kind. What is accepted must say the same when it is written and read again.
#include <cstddef>
#include <cstdint>
#include <string>

#include "muster/base/check.h"
#include "muster/base/error.h"
#include "registry_records.h"
#include "sealed_json.h"

namespace {

using namespace muster::checkpoint::internal;

void read_version(const std::string& text) {
  const std::string written = version_text(version_from_text(text, "fuzzed"));
  MUSTER_CHECK(version_text(version_from_text(written, "written")) == written);
}

void read_promotion(const std::string& text) {
  const int version = promotion_from_text(text, "fuzzed");
  MUSTER_CHECK_EQ(promotion_from_text(promotion_text(version, "now"), "written"), version);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t bytes) {
  if (bytes == 0) return 0;
  std::string text(reinterpret_cast<const char*>(data) + 1, bytes - 1);
  text += seal(text);
  try {
    if (data[0] == 'v') read_version(text);
    if (data[0] == 'p') read_promotion(text);
    if (data[0] == 'r') check_registry_text(text, "fuzzed");
  } catch (const muster::CheckpointError&) {
  }
  return 0;
}
