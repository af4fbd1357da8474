// Slots in a memfd: header last, so that what is sealed is whole.
#include "muster/checkpoint/snapshot_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <tuple>
#include <utility>

#include "chunks.h"
#include "muster/base/check.h"
#include "muster/base/crc32c.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/node_memory.h"
#include "muster/checkpoint/layout.h"
#include "range_checks.h"

namespace muster::checkpoint {
namespace {

constexpr std::uint64_t kMagic = 0x0150414e5352534dull;  // "MSRSNAP\x01", as bytes in memory
constexpr std::uint32_t kLayoutVersion = 1;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr int kSlots = 2;
constexpr std::uint64_t kHeaderBytes = 4096;
constexpr std::uint64_t kSlotBytes = std::uint64_t{1} << 38;
constexpr std::uint64_t kCapacityBytes = kMaxLocalRanks * kSlots * kSlotBytes;
constexpr const char* kName = "snapshot memory";

/// The first bytes of a slot. All zero while it is written.
struct Header {
  std::uint64_t magic;
  std::uint32_t version;
  std::int32_t generation;
  std::int64_t step;
  std::int32_t world_size;
  std::int32_t rank;
  std::int64_t data_bytes;
  std::int64_t text_bytes;
  std::uint32_t text_crc32c;
  std::uint32_t header_crc32c;  ///< Of all bytes before it.
};
static_assert(sizeof(Header) == 56);

std::uint32_t checksum_of(const Header& header) {
  return crc32c(&header, offsetof(Header, header_crc32c));
}

std::uint64_t slot_offset(int rank, int slot) {
  MUSTER_CHECK(rank >= 0 && rank < kMaxLocalRanks && slot >= 0 && slot < kSlots)
      << "rank " << rank << ", slot " << slot;
  return static_cast<std::uint64_t>(rank * kSlots + slot) * kSlotBytes;
}

std::size_t read_fully(int fd, std::uint64_t offset, void* out, std::size_t bytes) {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t found = pread(fd, static_cast<std::byte*>(out) + done, bytes - done,
                                static_cast<off_t>(offset + done));
    if (found < 0 && errno == EINTR) continue;
    if (found < 0) throw FileError("read", kName, errno);
    if (found == 0) break;
    done += static_cast<std::size_t>(found);
  }
  return done;
}

bool is_sealed(const Header& header, int rank) {
  return header.magic == kMagic && header.version == kLayoutVersion &&
         header.header_crc32c == checksum_of(header) && header.rank == rank &&
         header.world_size >= 1 && header.world_size <= kMaxLocalRanks && header.data_bytes >= 0 &&
         header.text_bytes >= 0;
}

[[noreturn]] void throw_no_memory(const FileError& error, const SnapshotId& id) {
  throw CheckpointError("the snapshot of step " + std::to_string(id.step) +
                        ": expected memory for it, found: " + error.what() +
                        "; two copies of a rank's state need to fit beside it: give the job more "
                        "memory, or --snapshot-every 0");
}

}  // namespace

std::vector<SnapshotId> complete_snapshots(const std::vector<SnapshotPart>& parts) {
  const auto key = [](const SnapshotId& id) {
    return std::make_tuple(-id.step, -id.generation, id.world_size);
  };
  std::map<std::tuple<std::int64_t, int, int>, std::vector<bool>> found;
  for (const SnapshotPart& part : parts) {
    auto& ranks = found[key(part.id)];
    ranks.resize(static_cast<std::size_t>(part.id.world_size));
    if (part.rank < part.id.world_size) ranks[static_cast<std::size_t>(part.rank)] = true;
  }
  std::vector<SnapshotId> complete;
  for (const auto& [at, ranks] : found) {
    if (std::find(ranks.begin(), ranks.end(), false) != ranks.end()) continue;
    complete.push_back({-std::get<0>(at), -std::get<1>(at), std::get<2>(at)});
  }
  return complete;
}

std::unique_ptr<SnapshotMemory> SnapshotMemory::create() {
  const auto check = [](bool good, const char* call) {
    if (!good)
      throw InternalError(std::string(kName) + ": " + call + " failed: " + errno_text(errno));
  };
  const int fd = memfd_create("muster-snapshots", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  check(fd >= 0, "memfd_create");
  std::unique_ptr<SnapshotMemory> memory(new SnapshotMemory(fd));
  check(ftruncate(fd, static_cast<off_t>(kCapacityBytes)) == 0, "ftruncate");
  check(fcntl(fd, F_ADD_SEALS, kSeals) == 0, "F_ADD_SEALS");
  return memory;
}

std::unique_ptr<SnapshotMemory> SnapshotMemory::attach(int fd) {
  struct stat info {};
  const int seals = fcntl(fd, F_GET_SEALS);
  if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd, &info) != 0 ||
      static_cast<std::uint64_t>(info.st_size) != kCapacityBytes) {
    throw ConfigError("snapshot memory: expected descriptor " + std::to_string(fd) +
                      " to be the launcher's memory for snapshots; unset MUSTER_SNAPSHOT_FD, or "
                      "start the program with muster run of the same version");
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<SnapshotMemory>(new SnapshotMemory(fd));
}

SnapshotMemory::~SnapshotMemory() { close(fd_); }

void SnapshotMemory::write_at(std::uint64_t offset, const void* data, std::size_t bytes) const {
  std::size_t done = 0;
  while (done < bytes) {
    const ssize_t written = pwrite(fd_, static_cast<const std::byte*>(data) + done, bytes - done,
                                   static_cast<off_t>(offset + done));
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) throw FileError("write", kName, written < 0 ? errno : ENOSPC);
    done += static_cast<std::size_t>(written);
  }
}

std::vector<SnapshotPart> SnapshotMemory::sealed_parts() const {
  std::vector<SnapshotPart> parts;
  for (int rank = 0; rank < kMaxLocalRanks; ++rank) {
    for (int slot = 0; slot < kSlots; ++slot) {
      Header header{};
      read_fully(fd_, slot_offset(rank, slot), &header, sizeof header);
      if (!is_sealed(header, rank)) continue;
      parts.push_back({{header.step, header.generation, header.world_size},
                       rank,
                       slot,
                       header.data_bytes,
                       header.text_bytes,
                       header.text_crc32c});
    }
  }
  return parts;
}

// A chunk is checksummed just before it is copied, so that it is read from memory once.
ShardRecord SnapshotMemory::copy(const SnapshotId& id, int rank, std::uint64_t begin,
                                 std::span<const SourceRange> sources) const {
  ShardRecord record{
      .file = shard_file_name(rank, id.world_size), .rank = rank, .world_size = id.world_size};
  for (const SourceRange& source : sources) {
    internal::check_source(source);
    StoredRange stored{source.range, source.range.numel() > 0 ? record.bytes : 0, {}};
    const std::int64_t bytes = source.range.bytes();
    const auto* data = static_cast<const std::byte*>(source.data);
    for (std::int64_t at = 0; at < bytes; at += kChunkBytes) {
      const auto length = static_cast<std::size_t>(std::min(kChunkBytes, bytes - at));
      stored.chunk_crc32c.push_back(crc32c(data + at, length));
      write_at(begin + static_cast<std::uint64_t>(record.bytes + at), data + at, length);
    }
    record.bytes += bytes;
    record.ranges.push_back(std::move(stored));
  }
  return record;
}

void SnapshotMemory::write(const SnapshotId& id, int rank, int slot,
                           std::span<const SourceRange> sources, const Json& run_state) {
  const std::uint64_t begin = slot_offset(rank, slot);
  try {
    Header header{};
    write_at(begin, &header, sizeof header);
    const ShardRecord record = copy(id, rank, begin + kHeaderBytes, sources);
    const std::string text = Json{{"record", record.to_json()}, {"run_state", run_state}}.dump();
    const std::uint64_t text_begin =
        begin + kHeaderBytes + static_cast<std::uint64_t>(record.bytes);
    const std::uint64_t end = text_begin + text.size();
    MUSTER_CHECK_LE(end, begin + kSlotBytes);
    write_at(text_begin, text.data(), text.size());
    // What a larger shard left here goes back to the system.
    fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(end),
              static_cast<off_t>(begin + kSlotBytes - end));
    header = {.magic = kMagic,
              .version = kLayoutVersion,
              .generation = id.generation,
              .step = id.step,
              .world_size = id.world_size,
              .rank = rank,
              .data_bytes = record.bytes,
              .text_bytes = static_cast<std::int64_t>(text.size()),
              .text_crc32c = crc32c(text.data(), text.size()),
              .header_crc32c = 0};
    header.header_crc32c = checksum_of(header);
    write_at(begin, &header, sizeof header);
  } catch (const FileError& error) {
    throw_no_memory(error, id);
  }
}

Json SnapshotMemory::part_text(const SnapshotPart& part) const {
  const std::string place = "the snapshot of step " + std::to_string(part.id.step) +
                            " in memory, part of rank " + std::to_string(part.rank);
  if (static_cast<std::uint64_t>(part.data_bytes) + static_cast<std::uint64_t>(part.text_bytes) >
      kSlotBytes - kHeaderBytes) {
    throw CheckpointError(place +
                          ": expected it to fit into its slot, found more: the memory is "
                          "damaged");
  }
  std::string text(static_cast<std::size_t>(part.text_bytes), '\0');
  read_fully(fd_,
             slot_offset(part.rank, part.slot) + kHeaderBytes +
                 static_cast<std::uint64_t>(part.data_bytes),
             text.data(), text.size());
  if (crc32c(text.data(), text.size()) != part.text_crc32c) {
    throw CheckpointError(place + ": the crc32c of its record is wrong: the memory is damaged");
  }
  return parse_json(text, place);
}

std::size_t SnapshotMemory::read_at(const SnapshotPart& part, std::uint64_t offset, void* out,
                                    std::size_t bytes) const {
  const auto data_bytes = static_cast<std::uint64_t>(part.data_bytes);
  if (offset >= data_bytes) return 0;
  const auto wanted =
      static_cast<std::size_t>(std::min(static_cast<std::uint64_t>(bytes), data_bytes - offset));
  return read_fully(fd_, slot_offset(part.rank, part.slot) + kHeaderBytes + offset, out, wanted);
}

// The calls cannot fail on a memfd with these arguments; what stayed would be unused, but harmless.
void SnapshotMemory::release_ranks_from(int first_rank) const {
  if (first_rank >= kMaxLocalRanks) return;
  const std::uint64_t begin = slot_offset(first_rank, 0);
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(begin),
            static_cast<off_t>(kCapacityBytes - begin));
}

SnapshotWriter::SnapshotWriter(SnapshotMemory& memory, int rank, int world_size, int generation,
                               const std::optional<SnapshotId>& restored)
    : memory_(memory), rank_(rank), world_size_(world_size), generation_(generation) {
  if (!restored) return;
  for (const SnapshotPart& part : memory_.sealed_parts()) {
    if (part.rank == rank_ && part.id == *restored) next_slot_ = 1 - part.slot;
  }
}

void SnapshotWriter::write(std::int64_t step, std::span<const SourceRange> sources,
                           const Json& run_state) {
  // The first of this world is complete by now, so what a larger world left has no use.
  if (rank_ == 0 && written_ == 1) memory_.release_ranks_from(world_size_);
  memory_.write({step, generation_, world_size_}, rank_, next_slot_, sources, run_state);
  next_slot_ = 1 - next_slot_;
  ++written_;
}

}  // namespace muster::checkpoint
