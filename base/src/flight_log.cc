// From bytes to values, believing nothing.
#include "muster/base/flight_log.h"

#include <algorithm>
#include <cstring>
#include <optional>
#include <string_view>
#include <tuple>

#include "muster/base/crc32c.h"
#include "muster/base/error.h"

namespace muster {
namespace {

// A record, or a communicator, that was being written is whole at the next look, unless its process
// has died or stands still.
constexpr int kMostLooks = 10;

template <std::size_t N>
std::optional<std::string> text_of(const char (&field)[N]) {
  const char* const end = std::find(field, field + N, '\0');
  const bool printable =
      std::all_of<const char*>(field, end, [](char c) { return c >= ' ' && c <= '~'; });
  if (end == field + N || !printable) return std::nullopt;
  return std::string(static_cast<const char*>(field), end);
}

[[noreturn]] void reject(const std::filesystem::path& path, const std::string& expected,
                         const std::string& found, const std::string& advice) {
  throw DataError("flight record " + path.string() + ": expected " + expected + ", found " + found +
                  "; " + advice);
}

/// The file's first bytes, once they are known to be a header of this format.
FlightHeader read_header(const ReadableFile& file, const std::filesystem::path& path) {
  FlightHeader header{};
  const std::size_t got = file.read_at(0, &header, sizeof header);
  if (got < offsetof(FlightHeader, header_bytes) || header.magic != kFlightMagic) {
    reject(path, "the file of a flight recorder", std::to_string(got) + " bytes of something else",
           "remove it, or name another directory");
  }
  if (header.format_version != kFlightFormatVersion) {
    reject(path, "format version " + std::to_string(kFlightFormatVersion),
           "version " + std::to_string(header.format_version),
           "read it with the muster that wrote it");
  }
  if (got < sizeof header) {
    reject(path, "a header of " + std::to_string(sizeof header) + " bytes",
           std::to_string(got) + " bytes", "the file is cut off; the other ranks' may be whole");
  }
  if (header.crc32c != crc32c(&header, offsetof(FlightHeader, crc32c)) ||
      header.header_bytes != sizeof(FlightHeader) || header.record_bytes != sizeof(FlightRecord) ||
      header.records != kFlightRecords) {
    reject(path, "a header with its checksum", "a damaged one",
           "the storage has lost bytes; the other ranks' files may be whole");
  }
  return header;
}

std::vector<FlightCommunicator> communicators_of(const FlightHeader& header, int& damaged) {
  std::vector<FlightCommunicator> communicators;
  const std::size_t count = std::min<std::size_t>(header.communicators, kFlightCommunicators);
  for (std::size_t i = 0; i < count; ++i) {
    const FlightCommunicatorEntry& entry = header.communicator[i];
    const auto name = text_of(entry.name);
    if (!name || entry.crc32c != crc32c(&entry, offsetof(FlightCommunicatorEntry, crc32c))) {
      ++damaged;
      continue;
    }
    communicators.push_back(
        {entry.id, static_cast<int>(entry.rank), static_cast<int>(entry.size), *name});
  }
  return communicators;
}

/// Nothing when the record's fields cannot be what a recorder wrote.
std::optional<FlightOperation> operation_of(const FlightRecord& record) {
  const auto operation = text_of(record.operation);
  const auto dtype = text_of(record.dtype);
  const auto combine = text_of(record.combine);
  if (!operation || !dtype || !combine) return std::nullopt;
  const bool has_ended =
      record.state == FlightState::kEnded || record.state == FlightState::kFailed;
  const bool has_started = record.state == FlightState::kStarted ||
                           record.state == FlightState::kEnded ||
                           (record.state == FlightState::kFailed && record.started_ns != 0);
  const bool has_sense =
      record.state >= FlightState::kQueued && record.state <= FlightState::kFailed &&
      record.queued_ns > 0 && record.peer_role <= FlightPeer::kFrom &&
      (record.started_ns > 0) == has_started && (record.ended_ns > 0) == has_ended;
  if (!has_sense) return std::nullopt;
  return FlightOperation{record.communicator, record.sequence,  record.state,
                         *operation,          *dtype,           *combine,
                         record.elements,     record.bytes,     record.peer_role,
                         record.peer,         record.queued_ns, record.started_ns,
                         record.ended_ns};
}

/// Reads the records thrice in a row: what has one even version before and after was not written to
/// in between.
class RecordReader {
 public:
  RecordReader(const ReadableFile& file, FlightLog& log) : file_(file), log_(log) {}

  void read_all() {
    std::vector<FlightRecord> before(kFlightRecords), records(kFlightRecords),
        after(kFlightRecords);
    const std::size_t count = read(0, before);
    read(0, records);
    read(0, after);
    for (std::size_t i = 0; i < count; ++i) {
      take(i, before[i].version, records[i], after[i].version);
    }
    const auto note = [this](const std::string& text) {
      log_.problem += (log_.problem.empty() ? "" : "; ") + text;
    };
    if (count < kFlightRecords) {
      note("the file is cut off: " + std::to_string(count) + " of " +
           std::to_string(kFlightRecords) + " records are left");
    }
    if (damaged_ > 0) note(std::to_string(damaged_) + " damaged records are left out");
  }

 private:
  /// How many whole records were read.
  std::size_t read(std::size_t index, std::vector<FlightRecord>& to) const {
    const std::uint64_t offset = sizeof(FlightHeader) + index * sizeof(FlightRecord);
    return file_.read_at(offset, to.data(), to.size() * sizeof(FlightRecord)) /
           sizeof(FlightRecord);
  }

  void take(std::size_t index, std::uint64_t before, FlightRecord record, std::uint64_t after) {
    std::vector<FlightRecord> one(1);
    for (int look = 0; before % 2 != 0 || before != after; ++look) {
      if (look == kMostLooks) {
        ++log_.unfinished_records;
        return;
      }
      read(index, one);
      before = one[0].version;
      read(index, one);
      record = one[0];
      read(index, one);
      after = one[0].version;
    }
    if (before == 0) return;
    auto operation = operation_of(record);
    if (operation) {
      log_.operations.push_back(*std::move(operation));
    } else {
      ++damaged_;
    }
  }

  const ReadableFile& file_;
  FlightLog& log_;
  int damaged_ = 0;
};

}  // namespace

std::string FlightOperation::description() const {
  std::string text;
  const auto add = [&](const std::string& word) { text += (text.empty() ? "" : ", ") + word; };
  if (!combine.empty()) add(combine);
  if (!dtype.empty()) add(dtype);
  if (elements < 0) add("counts by rank");
  if (!dtype.empty() && elements >= 0) add(std::to_string(elements) + " elements");
  const char* const roles[] = {"", "root ", "to rank ", "from rank "};
  if (peer_role != FlightPeer::kNone) {
    add(roles[static_cast<std::size_t>(peer_role)] + std::to_string(peer));
  }
  return operation + "(" + text + ")";
}

FlightLog read_flight_log(const std::filesystem::path& path, Env& env) {
  const auto file = env.open_file(path);
  const FlightHeader header = read_header(*file, path);
  FlightLog log;
  log.path = path;
  log.rank = static_cast<int>(header.rank);
  log.world_size = static_cast<int>(header.world_size);
  log.generation = static_cast<int>(header.generation);
  log.run_id = text_of(header.run_id).value_or("");
  log.process = {header.pid, header.process_start_ticks, header.pid_namespace,
                 text_of(header.boot_id).value_or(""), text_of(header.host).value_or("")};
  log.anchor_monotonic_ns = header.anchor_monotonic_ns;
  log.anchor_wall_ns = header.anchor_wall_ns;
  const auto end = static_cast<FlightEnd>(header.end);
  if (end == FlightEnd::kLeft || end == FlightEnd::kFailed) {
    log.end = end;
    log.end_ns = header.end_ns;
  }
  log.dropped = header.dropped;
  int damaged_communicators = 0;
  log.communicators = communicators_of(header, damaged_communicators);
  for (int look = 1; damaged_communicators > 0 && look < kMostLooks; ++look) {
    damaged_communicators = 0;
    log.communicators = communicators_of(read_header(*file, path), damaged_communicators);
  }
  if (damaged_communicators > 0) {
    log.problem = std::to_string(damaged_communicators) + " damaged communicators are left out";
  }
  RecordReader(*file, log).read_all();
  std::sort(log.operations.begin(), log.operations.end(), [](const auto& a, const auto& b) {
    return std::tie(a.queued_ns, a.communicator, a.sequence) <
           std::tie(b.queued_ns, b.communicator, b.sequence);
  });
  return log;
}

}  // namespace muster
