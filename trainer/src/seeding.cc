// Seeds by hashing.
#include "seeding.h"

#include <ATen/Context.h>

#include <mutex>

#include "muster/base/hash.h"

namespace muster::internal {

std::uint64_t stream_seed(std::uint64_t seed, StreamPurpose purpose, std::int64_t step,
                          int logical_rank, std::int64_t micro_step) {
  std::uint64_t hash = mix64(seed, static_cast<std::uint64_t>(purpose));
  hash = mix64(hash, static_cast<std::uint64_t>(step));
  hash = mix64(hash, static_cast<std::uint64_t>(logical_rank));
  return mix64(hash, static_cast<std::uint64_t>(micro_step));
}

namespace {

void seed_generator_of(at::Device device, std::uint64_t seed) {
  at::Generator generator = at::globalContext().defaultGenerator(device);
  const std::lock_guard<std::mutex> lock(generator.mutex());
  generator.set_current_seed(seed);
}

}  // namespace

void seed_default_generators(std::uint64_t seed, at::Device device) {
  seed_generator_of(at::kCPU, seed);
  if (!device.is_cpu()) seed_generator_of(device, seed);
}

}  // namespace muster::internal
