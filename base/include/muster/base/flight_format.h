// The bytes of a flight recorder's file; docs/flight_recorder.md describes them.
#ifndef MUSTER_BASE_FLIGHT_FORMAT_H_
#define MUSTER_BASE_FLIGHT_FORMAT_H_

#include <cstddef>
#include <cstdint>
#include <string>
#include <type_traits>

namespace muster {

inline constexpr std::uint64_t kFlightMagic = 0x5448474c46534d01u;  // "\x01MSFLGHT", as bytes
inline constexpr std::uint32_t kFlightFormatVersion = 1;
inline constexpr std::size_t kFlightRecords = 4096;
inline constexpr std::size_t kFlightCommunicators = 48;

/// The course of an operation. The numbers are in files and never change.
enum class FlightState : std::uint8_t {
  kNone = 0,     ///< A record that has not been written yet.
  kQueued = 1,   ///< Issued by the program; the operations before it have not ended.
  kStarted = 2,  ///< The rank has come to it.
  kEnded = 3,
  kFailed = 4,  ///< Ended by an error; with no start when an earlier operation had failed.
};

/// What FlightRecord::peer is. The numbers are in files and never change.
enum class FlightPeer : std::uint8_t {
  kNone = 0,
  kRoot = 1,
  kTo = 2,    ///< The receiver: the operation concerns two ranks only.
  kFrom = 3,  ///< The sender: likewise.
};

/// How the rank's membership of its world ended. The numbers are in files and never change.
enum class FlightEnd : std::uint32_t {
  kOpen = 1,    ///< It has not; or the process ended without a word.
  kLeft = 2,    ///< In order.
  kFailed = 3,  ///< By an exception.
};

/// One operation of one rank. Times are CLOCK_MONOTONIC in ns, 0 for what has not happened. Texts
/// end with a zero byte.
struct FlightRecord {
  std::uint64_t version;   ///< Odd while the record is being written; even and above 0 after.
  std::uint64_t sequence;  ///< Within the communicator, from 0.
  std::int64_t queued_ns;
  std::int64_t started_ns;
  std::int64_t ended_ns;
  std::int64_t bytes;     ///< Of what one rank contributes; -1 where that differs over ranks.
  std::int64_t elements;  ///< The same, in elements.
  std::uint32_t communicator;
  std::int32_t peer;  ///< Within the communicator; -1 with FlightPeer::kNone.
  char operation[32];
  char dtype[16];    ///< "" where the operation has none.
  char combine[12];  ///< "sum", ...; "" where nothing is combined.
  FlightState state;
  FlightPeer peer_role;
  std::uint8_t reserved[2];
};

/// One of the process's communicators. Written once, and anew when the file has no room for another
/// and this one has ended.
struct FlightCommunicatorEntry {
  std::uint32_t id;    ///< 0 is the world.
  std::uint32_t rank;  ///< This process's, within the communicator.
  std::uint32_t size;
  char name[48];         ///< The same on all its ranks, and of no other communicator.
  std::uint32_t crc32c;  ///< Of the bytes before it.
};

/// First bytes of the file.
struct FlightHeader {
  // Written once.
  std::uint64_t magic;
  std::uint32_t format_version;
  std::uint32_t header_bytes;
  std::uint32_t record_bytes;
  std::uint32_t records;
  std::uint32_t rank;
  std::uint32_t world_size;
  std::uint32_t generation;
  std::uint32_t reserved;
  std::int64_t pid;
  std::uint64_t process_start_ticks;
  std::uint64_t pid_namespace;
  std::int64_t anchor_monotonic_ns;  ///< The same moment on both clocks.
  std::int64_t anchor_wall_ns;       ///< Since 1970, UTC.
  char boot_id[40];
  char host[64];
  char run_id[64];
  std::uint32_t crc32c;  ///< Of the bytes before it.
  // Changes while the rank runs.
  std::uint32_t end;  ///< FlightEnd.
  std::int64_t end_ns;
  std::uint64_t next_record;    ///< Where the search for a free record begins, modulo `records`.
  std::uint64_t dropped;        ///< Operations that found no free record.
  std::uint32_t communicators;  ///< Entries that are written.
  std::uint8_t unused[1024 - 284];
  FlightCommunicatorEntry communicator[kFlightCommunicators];
};

static_assert(std::is_trivially_copyable_v<FlightHeader> &&
              std::is_trivially_copyable_v<FlightRecord>);
static_assert(sizeof(FlightRecord) == 128 && offsetof(FlightRecord, operation) == 64 &&
              offsetof(FlightRecord, state) == 124);
static_assert(sizeof(FlightCommunicatorEntry) == 64);
static_assert(offsetof(FlightHeader, boot_id) == 80 && offsetof(FlightHeader, crc32c) == 248 &&
              offsetof(FlightHeader, end_ns) == 256 &&
              offsetof(FlightHeader, communicator) == 1024 && sizeof(FlightHeader) == 4096);

inline constexpr std::size_t kFlightFileBytes =
    sizeof(FlightHeader) + kFlightRecords * sizeof(FlightRecord);

/// "flight-rank-3.bin".
inline std::string flight_file_name(int rank) {
  return "flight-rank-" + std::to_string(rank) + ".bin";
}

}  // namespace muster

#endif  // MUSTER_BASE_FLIGHT_FORMAT_H_
