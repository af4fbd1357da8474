// CRC-32C (Castagnoli), the checksum of everything Muster writes to disk.
#ifndef MUSTER_BASE_CRC32C_H_
#define MUSTER_BASE_CRC32C_H_

#include <cstddef>
#include <cstdint>

namespace muster {

/// CRC-32C of `bytes` bytes at `data`, continuing from `crc` (0 to begin).
/// crc32c("123456789") = 0xe3069283. Polynomial 0x1edc6f41, reflected, as in RFC 3720, appendix
/// B.4. Uses SSE4.2 or the ARMv8 CRC instructions where the processor has them.
std::uint32_t crc32c(const void* data, std::size_t bytes, std::uint32_t crc = 0);

namespace internal {
/// The table-driven form, for processors without CRC instructions; public so that tests can
/// compare.
std::uint32_t crc32c_portable(const void* data, std::size_t bytes, std::uint32_t crc);
}  // namespace internal

}  // namespace muster

#endif  // MUSTER_BASE_CRC32C_H_
