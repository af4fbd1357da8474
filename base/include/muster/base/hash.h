// Non-cryptographic hashes with fixed values on every machine: XXH3 through libxxhash.
#ifndef MUSTER_BASE_HASH_H_
#define MUSTER_BASE_HASH_H_

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace muster {

/// XXH3, 64 bits. Two names, since a literal and a seed would else be taken for an address and a
/// length.
std::uint64_t hash64_bytes(const void* data, std::size_t bytes, std::uint64_t seed = 0);
std::uint64_t hash64(std::string_view text, std::uint64_t seed = 0);

/// Mixes two words into one (the finaliser of SplitMix64 over their combination); order matters.
std::uint64_t mix64(std::uint64_t a, std::uint64_t b);

/// XXH3, 128 bits, over a stream of pieces. The cut into pieces does not matter.
class Hash128 {
 public:
  Hash128();
  ~Hash128();
  Hash128(const Hash128&) = delete;
  Hash128& operator=(const Hash128&) = delete;

  void update(const void* data, std::size_t bytes);
  void update(std::string_view text) { update(text.data(), text.size()); }
  /// 32 lower-case hexadecimal digits.
  std::string hex() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace muster

#endif  // MUSTER_BASE_HASH_H_
