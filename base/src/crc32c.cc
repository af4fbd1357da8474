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

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) std::uint32_t crc32c_hardware(const void* data, std::size_t bytes,
                                                                std::uint32_t crc) {
  const auto* p = static_cast<const unsigned char*>(data);
  std::uint64_t wide = static_cast<std::uint32_t>(~crc);
  for (; bytes >= 8; bytes -= 8, p += 8) {
    std::uint64_t word;
    std::memcpy(&word, p, 8);
    wide = _mm_crc32_u64(wide, word);
  }
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
