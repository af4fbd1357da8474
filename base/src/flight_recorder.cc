// The mapped file and its sequence locks.
#include "muster/base/flight_recorder.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "muster/base/crc32c.h"
#include "muster/base/env.h"
#include "muster/base/process_identity.h"

namespace muster {
namespace {

namespace fs = std::filesystem;

// How many records a claim looks at. More are in use only when thousands of operations are in
// flight.
constexpr int kMostProbes = 64;

std::int64_t nanoseconds(FlightEntry::Time time) {
  return std::chrono::nanoseconds(time.time_since_epoch()).count();
}

std::int64_t now_ns() { return nanoseconds(std::chrono::steady_clock::now()); }

template <std::size_t N>
void copy_text(char (&to)[N], std::string_view text) {
  std::memset(to, 0, N);
  text.copy(to, N - 1);
}

/// A name of a communicator for which there is no room ends in a number made of all of it, so that
/// what two communicators do is not taken for one's.
std::string fitting(std::string_view name) {
  constexpr std::size_t kMost = sizeof(FlightCommunicatorEntry::name) - 1;
  if (name.size() <= kMost) return std::string(name);
  const std::string number = "~" + std::to_string(crc32c(name.data(), name.size()));
  return std::string(name.substr(0, kMost - number.size())) + number;
}

std::atomic_ref<std::uint64_t> version_of(FlightRecord& record) {
  return std::atomic_ref<std::uint64_t>(record.version);
}

std::atomic_ref<FlightState> state_of(FlightRecord& record) {
  return std::atomic_ref<FlightState>(record.state);
}

/// Other processes see the record's odd version before anything that is written after this.
void order_stores() {
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wtsan"  // which knows no fences; no thread here relies on this one
#endif
  std::atomic_thread_fence(std::memory_order_release);
#if defined(__SANITIZE_THREAD__)
#pragma GCC diagnostic pop
#endif
}

void begin_change(FlightRecord& record) {
  const auto version = version_of(record);
  version.store(version.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
  order_stores();
}

void end_change(FlightRecord& record) {
  const auto version = version_of(record);
  version.store(version.load(std::memory_order_relaxed) + 1, std::memory_order_release);
}

FlightHeader make_header(const RankEnv& env) {
  const ProcessIdentity own = own_process_identity();
  FlightHeader header{};
  header.magic = kFlightMagic;
  header.format_version = kFlightFormatVersion;
  header.header_bytes = sizeof(FlightHeader);
  header.record_bytes = sizeof(FlightRecord);
  header.records = kFlightRecords;
  header.rank = static_cast<std::uint32_t>(env.rank);
  header.world_size = static_cast<std::uint32_t>(env.world_size);
  header.generation = static_cast<std::uint32_t>(env.generation);
  header.pid = own.pid;
  header.process_start_ticks = own.start_ticks;
  header.pid_namespace = own.pid_namespace;
  header.anchor_monotonic_ns = now_ns();
  header.anchor_wall_ns =
      std::chrono::nanoseconds(std::chrono::system_clock::now().time_since_epoch()).count();
  copy_text(header.boot_id, own.boot_id);
  copy_text(header.host, own.host);
  copy_text(header.run_id, env.run_id);
  header.crc32c = crc32c(&header, offsetof(FlightHeader, crc32c));
  header.end = static_cast<std::uint32_t>(FlightEnd::kOpen);
  return header;
}

/// Beyond the limit on the size of files the kernel would end the process by SIGXFSZ.
bool exceeds_limit(std::size_t bytes) {
  rlimit limit{};
  return getrlimit(RLIMIT_FSIZE, &limit) == 0 && limit.rlim_cur < bytes;
}

/// A file that is removed again unless it is kept.
class NewFile {
 public:
  explicit NewFile(fs::path path) : path_(std::move(path)) {
    fd_ = open(path_.c_str(), O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd_ < 0) throw FileError("create", path_, errno);
  }
  ~NewFile() {
    close(fd_);
    if (!path_.empty()) unlink(path_.c_str());
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  // Now, since a page that finds no room on the disk when it is written to is a SIGBUS.
  std::byte* map(std::size_t bytes) {
    int error = exceeds_limit(bytes) ? EFBIG : EINTR;
    while (error == EINTR) error = posix_fallocate(fd_, 0, static_cast<off_t>(bytes));
    if (error != 0) throw FileError("reserve " + std::to_string(bytes) + " bytes in", path_, error);
    void* memory = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_POPULATE, fd_, 0);
    if (memory == MAP_FAILED) throw FileError("map", path_, errno);
    return static_cast<std::byte*>(memory);
  }

  void keep_as(const fs::path& path) {
    if (rename(path_.c_str(), path.c_str()) != 0) {
      throw FileError("rename to " + path.string(), path_, errno);
    }
    path_.clear();
  }

 private:
  fs::path path_;
  int fd_ = -1;
};

}  // namespace

void FlightEntry::started(Time now) const {
  if (record_ == nullptr) return;
  begin_change(*record_);
  record_->started_ns = nanoseconds(now);
  state_of(*record_).store(FlightState::kStarted, std::memory_order_relaxed);
  end_change(*record_);
}

void FlightEntry::finish(FlightState state) const {
  if (record_ == nullptr) return;
  begin_change(*record_);
  record_->ended_ns = now_ns();
  state_of(*record_).store(state, std::memory_order_relaxed);
  end_change(*record_);
}

FlightEntry FlightLane::queued(std::uint64_t sequence, const FlightCall& call) const {
  if (recorder_ == nullptr) return {};
  FlightRecord* record = recorder_->claim();
  if (record == nullptr) return {};
  record->sequence = sequence;
  record->queued_ns = now_ns();
  record->started_ns = 0;
  record->ended_ns = 0;
  record->bytes = call.bytes;
  record->elements = call.elements;
  record->communicator = communicator_;
  record->peer = call.peer;
  record->peer_role = call.peer_role;
  copy_text(record->operation, call.operation);
  copy_text(record->dtype, call.dtype);
  copy_text(record->combine, call.combine);
  state_of(*record).store(FlightState::kQueued, std::memory_order_relaxed);
  end_change(*record);
  return FlightEntry(record);
}

FlightLane FlightLane::of_part(std::string_view name, int rank, int size) const {
  if (recorder_ == nullptr) return {};
  return recorder_->add_communicator(name, rank, size);
}

// The file appears under its name only once its header is whole, and never under a process that
// still maps an older one.
std::shared_ptr<FlightRecorder> FlightRecorder::create(const RankEnv& env) {
  const fs::path directory = env.flight_directory;
  std::error_code error;
  fs::create_directories(directory, error);
  if (error) throw FileError("create directory", directory, error.value());
  const fs::path path = directory / flight_file_name(env.rank);
  NewFile file(path.string() + "." + std::to_string(getpid()) + ".new");
  std::byte* const memory = file.map(kFlightFileBytes);
  std::shared_ptr<FlightRecorder> recorder(new FlightRecorder(memory));
  recorder->header() = make_header(env);
  file.keep_as(path);
  return recorder;
}

FlightRecorder::~FlightRecorder() { munmap(memory_, kFlightFileBytes); }

FlightLane FlightRecorder::add_communicator(std::string_view name, int rank, int size) {
  std::lock_guard<std::mutex> lock(communicators_mutex_);
  const std::uint32_t id = next_communicator_++;
  const std::optional<std::uint32_t> place = take_place();
  if (!place) return {shared_from_this(), id, nullptr};
  FlightCommunicatorEntry& entry = header().communicator[*place];
  entry.id = id;
  entry.rank = static_cast<std::uint32_t>(rank);
  entry.size = static_cast<std::uint32_t>(size);
  copy_text(entry.name, fitting(name));
  entry.crc32c = crc32c(&entry, offsetof(FlightCommunicatorEntry, crc32c));
  const std::atomic_ref<std::uint32_t> written(header().communicators);
  if (*place == written.load()) written.store(*place + 1, std::memory_order_release);
  return {shared_from_this(), id, hold(*place)};
}

// As late as can be: the operations of a communicator that has ended are still in the file.
std::optional<std::uint32_t> FlightRecorder::take_place() {
  const std::uint32_t unused = header().communicators;
  if (unused < kFlightCommunicators) return unused;
  if (left_places_.empty()) return std::nullopt;
  const std::uint32_t place = left_places_.front();
  left_places_.pop_front();
  return place;
}

// The world's is always needed.
std::shared_ptr<void> FlightRecorder::hold(std::uint32_t place) {
  if (place == 0) return nullptr;
  return {nullptr, [self = shared_from_this(), place](void*) {
            const std::lock_guard<std::mutex> lock(self->communicators_mutex_);
            self->left_places_.push_back(place);
          }};
}

void FlightRecorder::end(FlightEnd how) noexcept {
  header().end_ns = now_ns();
  std::atomic_ref<std::uint32_t>(header().end)
      .store(static_cast<std::uint32_t>(how), std::memory_order_release);
}

FlightRecord& FlightRecorder::record(std::uint64_t index) const {
  return reinterpret_cast<FlightRecord*>(memory_ + sizeof(FlightHeader))[index % kFlightRecords];
}

// A record in use is changed by its own operation alone, so a version that is even and still the
// same after its state was looked at makes the record this thread's.
FlightRecord* FlightRecorder::claim() {
  std::atomic_ref<std::uint64_t> next(header().next_record);
  for (int probe = 0; probe < kMostProbes; ++probe) {
    FlightRecord& candidate = record(next.fetch_add(1, std::memory_order_relaxed));
    const auto version = version_of(candidate);
    std::uint64_t seen = version.load(std::memory_order_acquire);
    const FlightState state = state_of(candidate).load(std::memory_order_relaxed);
    const bool in_use = state == FlightState::kQueued || state == FlightState::kStarted;
    if (in_use || seen % 2 != 0) continue;
    if (!version.compare_exchange_strong(seen, seen + 1, std::memory_order_acq_rel)) continue;
    order_stores();
    return &candidate;
  }
  std::atomic_ref<std::uint64_t>(header().dropped).fetch_add(1, std::memory_order_relaxed);
  return nullptr;
}

}  // namespace muster
