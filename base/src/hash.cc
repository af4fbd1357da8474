// XXH3 behind a header that needs no xxhash.h.
#include "muster/base/hash.h"

#include <xxhash.h>

#include <cstdio>

#include "muster/base/check.h"

namespace muster {

std::uint64_t hash64_bytes(const void* data, std::size_t bytes, std::uint64_t seed) {
  return XXH3_64bits_withSeed(data, bytes, seed);
}

std::uint64_t hash64(std::string_view text, std::uint64_t seed) {
  return hash64_bytes(text.data(), text.size(), seed);
}

std::uint64_t mix64(std::uint64_t a, std::uint64_t b) {
  // SplitMix64 (Steele, Lea, Flood 2014), its increment multiplied into the first word so that
  // order matters.
  std::uint64_t z = a * 0x9e3779b97f4a7c15u + b + 0x632be59bd9b4e019u;
  z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
  z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
  return z ^ (z >> 31);
}

struct Hash128::State {
  XXH3_state_t* xxh = nullptr;
};

Hash128::Hash128() : state_(std::make_unique<State>()) {
  state_->xxh = XXH3_createState();
  MUSTER_CHECK(state_->xxh != nullptr);
  XXH3_128bits_reset(state_->xxh);
}

Hash128::~Hash128() { XXH3_freeState(state_->xxh); }

void Hash128::update(const void* data, std::size_t bytes) {
  if (bytes > 0) XXH3_128bits_update(state_->xxh, data, bytes);
}

std::string Hash128::hex() const {
  const XXH128_hash_t digest = XXH3_128bits_digest(state_->xxh);
  char text[33];
  std::snprintf(text, sizeof(text), "%016llx%016llx",
                static_cast<unsigned long long>(digest.high64),
                static_cast<unsigned long long>(digest.low64));
  return text;
}

}  // namespace muster
