// CRC-32C by the processor's instruction where there is one, by tables elsewhere.
#include "muster/base/crc32c.h"

#include <array>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#elif defined(__aarch64__)
#include <arm_acle.h>
#include <asm/hwcap.h>
#include <sys/auxv.h>
#endif

namespace muster {
namespace internal {
namespace {

constexpr std::uint32_t kReflectedPolynomial = 0x82f63b78u;
constexpr int kTables = 8;  // "slicing by 8": eight bytes a turn

using Tables = std::array<std::array<std::uint32_t, 256>, kTables>;

constexpr Tables make_tables() {
  Tables tables{};
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    std::uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ ((crc & 1u) ? kReflectedPolynomial : 0u);
    tables[0][byte] = crc;
  }
  for (std::uint32_t byte = 0; byte < 256; ++byte) {
    for (std::size_t t = 1; t < kTables; ++t) {
      const std::uint32_t previous = tables[t - 1][byte];
      tables[t][byte] = (previous >> 8) ^ tables[0][previous & 0xffu];
    }
  }
  return tables;
}

constexpr Tables kTable = make_tables();

}  // namespace

std::uint32_t crc32c_portable(const void* data, std::size_t bytes, std::uint32_t crc) {
  const auto* p = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    const std::uint32_t low =
        crc ^ (static_cast<std::uint32_t>(p[0]) | static_cast<std::uint32_t>(p[1]) << 8 |
               static_cast<std::uint32_t>(p[2]) << 16 | static_cast<std::uint32_t>(p[3]) << 24);
    crc = kTable[7][low & 0xffu] ^ kTable[6][(low >> 8) & 0xffu] ^ kTable[5][(low >> 16) & 0xffu] ^
          kTable[4][low >> 24] ^ kTable[3][p[4]] ^ kTable[2][p[5]] ^ kTable[1][p[6]] ^
          kTable[0][p[7]];
  }
  for (; bytes > 0; --bytes, ++p) crc = (crc >> 8) ^ kTable[0][(crc ^ *p) & 0xffu];
  return ~crc;
}

namespace {

// The instruction takes three cycles but a new one can begin in each, so three streams run side by
// side. A stream is joined to the one before by shifting that one's remainder over its length: a
// linear map of 32 bits, here four tables of 256 words (Gopal et al., "Fast CRC computation for
// iSCSI polynomial using CRC32 instruction", 2011).
constexpr std::size_t kStreamBytes = 4096;
constexpr int kDoublings = 12;  // one byte, doubled so often, is a stream

using Matrix = std::array<std::uint32_t, 32>;  // where each bit goes
using ShiftTables = std::array<std::array<std::uint32_t, 256>, 4>;

constexpr std::uint32_t times(const Matrix& matrix, std::uint32_t vector) {
  std::uint32_t sum = 0;
  for (std::size_t bit = 0; bit < 32; ++bit) sum ^= ((vector >> bit) & 1u) ? matrix[bit] : 0u;
  return sum;
}

constexpr ShiftTables make_shift_tables() {
  Matrix shift{};
  for (std::size_t bit = 0; bit < 32; ++bit) {
    const std::uint32_t crc = 1u << bit;
    shift[bit] = (crc >> 8) ^ kTable[0][crc & 0xffu];
  }
  for (int doubling = 0; doubling < kDoublings; ++doubling) {
    Matrix twice{};
    for (std::size_t bit = 0; bit < 32; ++bit) twice[bit] = times(shift, shift[bit]);
    shift = twice;
  }
  ShiftTables tables{};
  for (std::size_t byte = 0; byte < 4; ++byte) {
    for (std::uint32_t value = 0; value < 256; ++value) {
      tables[byte][value] = times(shift, value << (8 * byte));
    }
  }
  return tables;
}

constexpr ShiftTables kShift = make_shift_tables();

/// The remainder `crc`, of bytes that a stream's length of others follows.
[[maybe_unused]] std::uint32_t shifted(std::uint32_t crc) {
  return kShift[0][crc & 0xffu] ^ kShift[1][(crc >> 8) & 0xffu] ^ kShift[2][(crc >> 16) & 0xffu] ^
         kShift[3][crc >> 24];
}

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint64_t add_word(std::uint64_t crc,
                                                         const unsigned char* p) {
  std::uint64_t word;
  std::memcpy(&word, p, 8);
  return _mm_crc32_u64(crc, word);
}

__attribute__((target("sse4.2"))) std::uint32_t three_streams(std::uint32_t crc,
                                                              const unsigned char* p) {
  std::uint64_t first = crc;
  std::uint64_t second = 0;
  std::uint64_t third = 0;
  for (const unsigned char* end = p + kStreamBytes; p < end; p += 8) {
    first = add_word(first, p);
    second = add_word(second, p + kStreamBytes);
    third = add_word(third, p + 2 * kStreamBytes);
  }
  const std::uint32_t two =
      shifted(static_cast<std::uint32_t>(first)) ^ static_cast<std::uint32_t>(second);
  return shifted(two) ^ static_cast<std::uint32_t>(third);
}

__attribute__((target("sse4.2"))) std::uint32_t crc32c_hardware(const void* data, std::size_t bytes,
                                                                std::uint32_t crc) {
  const auto* p = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; bytes >= 3 * kStreamBytes; bytes -= 3 * kStreamBytes, p += 3 * kStreamBytes) {
    crc = three_streams(crc, p);
  }
  std::uint64_t wide = crc;
  for (; bytes >= 8; bytes -= 8, p += 8) wide = add_word(wide, p);
  auto narrow = static_cast<std::uint32_t>(wide);
  for (; bytes > 0; --bytes, ++p) narrow = _mm_crc32_u8(narrow, *p);
  return ~narrow;
}

bool has_hardware_crc() { return __builtin_cpu_supports("sse4.2"); }
#elif defined(__aarch64__)
__attribute__((target("+crc"))) std::uint32_t crc32c_hardware(const void* data, std::size_t bytes,
                                                              std::uint32_t crc) {
  const auto* p = static_cast<const unsigned char*>(data);
  crc = ~crc;
  for (; bytes >= 8; bytes -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    crc = __crc32cd(crc, word);
  }
  for (; bytes > 0; --bytes, ++p) crc = __crc32cb(crc, *p);
  return ~crc;
}

bool has_hardware_crc() { return (getauxval(AT_HWCAP) & HWCAP_CRC32) != 0; }
#else
std::uint32_t crc32c_hardware(const void* data, std::size_t bytes, std::uint32_t crc) {
  return crc32c_portable(data, bytes, crc);
}

bool has_hardware_crc() { return false; }
#endif

}  // namespace
}  // namespace internal

std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t crc) {
  static const bool hardware = internal::has_hardware_crc();
  return hardware ? internal::crc32c_hardware(data, bytes, crc)
                  : internal::crc32c_portable(data, bytes, crc);
}

}  // namespace muster
