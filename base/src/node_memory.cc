// The memfd behind NodeMemory, and futexes.
#include "muster/base/node_memory.h"

#include <fcntl.h>
#include <linux/futex.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <ctime>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster {
namespace {

constexpr std::uint64_t kMagic = 0x3152455453554d01u;  // "\x01MUSTER1", as bytes in memory
constexpr std::uint32_t kLayoutVersion = 3;
constexpr int kSeals = F_SEAL_SHRINK | F_SEAL_GROW;
constexpr std::uint64_t kLargestPageBytes =
    65536;  // of the kernels we run on (aarch64), so that the layout is one

[[noreturn]] void throw_system_error(const char* call) {
  throw InternalError(std::string("node memory: ") + call + " failed: " + errno_text(errno));
}

void init_alive_mutex(pthread_mutex_t* mutex) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
  pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
  const int error = pthread_mutex_init(mutex, &attributes);
  pthread_mutexattr_destroy(&attributes);
  MUSTER_CHECK_EQ(error, 0);
}

/// Gives back another rank's mutex after a trylock that returned `error`, and writes down that its
/// owner died. Left inconsistent, the mutex would become ENOTRECOVERABLE, which glibc's trylock
/// says once and then takes for EBUSY.
void release_found_mutex(RankSlot* slot, int error) {
  if (error == EOWNERDEAD) {
    slot->state.store(static_cast<std::uint32_t>(RankState::kDied), std::memory_order_release);
    pthread_mutex_consistent(&slot->alive);
  }
  if (error == 0 || error == EOWNERDEAD) pthread_mutex_unlock(&slot->alive);
}

/// Beyond the limit the kernel would end the process by SIGXFSZ, without a word.
void check_file_size_limit() {
  rlimit limit{};
  if (getrlimit(RLIMIT_FSIZE, &limit) != 0 || limit.rlim_cur >= NodeMemory::kCapacityBytes) return;
  throw ConfigError("node memory: expected no limit on the size of files (ulimit -f), found " +
                    std::to_string(limit.rlim_cur) +
                    " bytes: the memory that ranks share is a file in memory; run ulimit -f "
                    "unlimited");
}

}  // namespace

struct NodeMemory::Mapping {
  std::mutex mutex;
  std::vector<std::pair<void*, std::uint64_t>> regions;
};

std::uint64_t NodeMemory::symmetric_offset_bytes() {
  return (sizeof(NodeControl) + kLargestPageBytes - 1) / kLargestPageBytes * kLargestPageBytes;
}

NodeMemory::NodeMemory(int fd, std::uint32_t generation)
    : fd_(fd), generation_(generation), mappings_(std::make_unique<Mapping>()) {}

std::unique_ptr<NodeMemory> NodeMemory::create(int local_world_size, std::uint32_t generation) {
  MUSTER_CHECK(local_world_size >= 1 && local_world_size <= kMaxLocalRanks) << local_world_size;
  check_file_size_limit();
  const int fd = memfd_create("muster-node-memory", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  if (fd < 0) throw_system_error("memfd_create");
  std::unique_ptr<NodeMemory> memory(new NodeMemory(fd, generation));
  if (ftruncate(fd, static_cast<off_t>(kCapacityBytes)) != 0) throw_system_error("ftruncate");
  // Without a fixed size a rank could make another's access a SIGBUS.
  if (fcntl(fd, F_ADD_SEALS, kSeals) != 0) throw_system_error("F_ADD_SEALS");
  memory->control_ =
      reinterpret_cast<NodeControl*>(memory->map(0, NodeMemory::symmetric_offset_bytes()));
  NodeControl& control = *memory->control_;
  control.magic = kMagic;
  control.version = kLayoutVersion;
  control.local_world_size = static_cast<std::uint32_t>(local_world_size);
  control.slots_taken.store(control.local_world_size);
  for (int rank = 0; rank < local_world_size; ++rank) {
    init_alive_mutex(&control.slots[rank].alive);
  }
  control.unreserved_offset.store(symmetric_offset_bytes());
  control.generation.store(generation, std::memory_order_release);
  return memory;
}

std::unique_ptr<NodeMemory> NodeMemory::attach(int fd, std::uint32_t generation) {
  struct stat info {};
  const int seals = fcntl(fd, F_GET_SEALS);
  // The seals first: a file that could shrink would make reading it a SIGBUS.
  if (seals < 0 || (seals & kSeals) != kSeals || fstat(fd, &info) != 0 ||
      static_cast<std::uint64_t>(info.st_size) != kCapacityBytes) {
    throw ConfigError("node memory: expected descriptor " + std::to_string(fd) +
                      " to be the launcher's shared memory; unset MUSTER_NODE_MEMORY_FD, or start "
                      "the program with muster run");
  }
  std::unique_ptr<NodeMemory> memory(new NodeMemory(fd, generation));
  memory->control_ =
      reinterpret_cast<NodeControl*>(memory->map(0, NodeMemory::symmetric_offset_bytes()));
  const NodeControl& control = *memory->control_;
  if (control.magic != kMagic || control.version != kLayoutVersion) {
    const std::uint32_t version = control.version;
    memory->fd_ = -1;  // still the caller's
    throw ConfigError("node memory: expected layout version " + std::to_string(kLayoutVersion) +
                      ", found " + std::to_string(version) +
                      "; launcher and program are of different versions of Muster");
  }
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return memory;
}

NodeMemory::~NodeMemory() {
  // A mutex that is held must not be unmapped: it is a link of its thread's robust list. After
  // fork() the child's copy of this object owns no mutex.
  if (joined_rank_ >= 0 && slot(joined_rank_).pid.load() == getpid()) leave(joined_rank_);
  for (const auto& [address, bytes] : mappings_->regions) munmap(address, bytes);
  if (fd_ >= 0) close(fd_);
}

RankSlot& NodeMemory::slot(int local_rank) {
  MUSTER_CHECK(local_rank >= 0 &&
               static_cast<std::uint32_t>(local_rank) < control_->slots_taken.load())
      << "local rank " << local_rank << " of " << control_->slots_taken.load();
  return control_->slots[local_rank];
}

std::byte* NodeMemory::map(std::uint64_t offset_bytes, std::uint64_t bytes) {
  MUSTER_CHECK_EQ(offset_bytes % static_cast<std::uint64_t>(sysconf(_SC_PAGESIZE)), 0u);
  MUSTER_CHECK(bytes > 0 && bytes <= kCapacityBytes && offset_bytes <= kCapacityBytes - bytes)
      << "offset " << offset_bytes << ", bytes " << bytes;
  void* address = mmap(nullptr, bytes, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_NORESERVE, fd_,
                       static_cast<off_t>(offset_bytes));
  if (address == MAP_FAILED) throw_system_error("mmap");
  std::lock_guard<std::mutex> lock(mappings_->mutex);
  mappings_->regions.emplace_back(address, bytes);
  return static_cast<std::byte*>(address);
}

void NodeMemory::unmap(std::byte* address) noexcept {
  std::lock_guard<std::mutex> lock(mappings_->mutex);
  auto& regions = mappings_->regions;
  const auto region = std::find_if(regions.begin(), regions.end(),
                                   [&](const auto& each) { return each.first == address; });
  if (region == regions.end()) return;
  munmap(region->first, region->second);
  regions.erase(region);
}

void NodeMemory::release(std::uint64_t offset_bytes, std::uint64_t bytes) noexcept {
  // On a memfd this cannot fail with these arguments; what stayed would be unused, but harmless.
  fallocate(fd_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, static_cast<off_t>(offset_bytes),
            static_cast<off_t>(bytes));
}

std::uint64_t NodeMemory::reserve(std::uint64_t bytes) {
  const std::uint64_t rounded =
      (bytes + kLargestPageBytes - 1) / kLargestPageBytes * kLargestPageBytes;
  std::uint64_t offset = control_->unreserved_offset.load();
  do {
    const std::uint64_t left = kCapacityBytes - offset;
    if (bytes <= kMostAtOnceBytes && rounded <= left) continue;
    const std::uint64_t most = std::min(kMostAtOnceBytes, left);
    throw ConfigError("node memory: expected a request for at most " + std::to_string(most) +
                      " bytes, found one for " + std::to_string(bytes) +
                      "; use a smaller model, or fewer ranks on the node");
  } while (!control_->unreserved_offset.compare_exchange_weak(offset, offset + rounded));
  return offset;
}

// Whoever loses the race leaves a hole: addresses, but no memory.
std::uint64_t NodeMemory::named_block(int number, std::uint64_t bytes) {
  MUSTER_CHECK(number >= 0 && number < kMaxNamedBlocks) << number;
  std::atomic<std::uint64_t>& entry = control_->named_blocks[number];
  std::uint64_t offset = entry.load();
  if (offset != 0) return offset;
  const std::uint64_t candidate = reserve(bytes);
  return entry.compare_exchange_strong(offset, candidate) ? candidate : offset;
}

void NodeMemory::join(int local_rank) {
  RankSlot& mine = slot(local_rank);
  // Nobody touches the mutex of an absent rank, so that a busy one is another process's for life.
  const int error = pthread_mutex_trylock(&mine.alive);
  const bool first =
      error == 0 && mine.state.load() == static_cast<std::uint32_t>(RankState::kAbsent);
  if (!first) release_found_mutex(&mine, error);
  MUSTER_CHECK(first) << "another process has, or had, local rank " << local_rank
                      << " in this generation";
  joined_rank_ = local_rank;
  mine.pid.store(getpid());
  mine.state.store(static_cast<std::uint32_t>(RankState::kAlive), std::memory_order_release);
}

// Nobody looks at the slot before this process tells of it.
int NodeMemory::join_later() {
  std::uint32_t taken = control_->slots_taken.load();
  do {
    if (taken < kMaxLocalRanks) continue;
    throw ConfigError("node memory: expected fewer than " + std::to_string(kMaxLocalRanks) +
                      " processes in one generation, found " + std::to_string(taken) +
                      " that had come; start the job again");
  } while (!control_->slots_taken.compare_exchange_weak(taken, taken + 1));
  const int slot_number = static_cast<int>(taken);
  init_alive_mutex(&slot(slot_number).alive);
  join(slot_number);
  return slot_number;
}

void NodeMemory::leave(int local_rank) {
  MUSTER_CHECK_EQ(local_rank, joined_rank_) << "only the rank that joined can leave";
  joined_rank_ = -1;
  RankSlot& mine = slot(local_rank);
  mine.state.store(static_cast<std::uint32_t>(RankState::kLeft), std::memory_order_release);
  pthread_mutex_unlock(&mine.alive);
}

bool NodeMemory::generation_moved() const {
  return control_->generation.load(std::memory_order_acquire) != generation_;
}

bool NodeMemory::peer_is_lost(int local_rank) {
  return generation_moved() || peer_is_gone(local_rank);
}

bool NodeMemory::peer_is_gone(int local_rank) {
  RankSlot& peer = slot(local_rank);
  const auto state = static_cast<RankState>(peer.state.load(std::memory_order_acquire));
  if (state == RankState::kAbsent) return false;
  if (state != RankState::kAlive) return true;
  const int error = pthread_mutex_trylock(&peer.alive);
  if (error == EBUSY) return false;
  release_found_mutex(&peer, error);
  return true;
}

void NodeMemory::end_generation() {
  control_->generation.fetch_add(1, std::memory_order_acq_rel);
  futex_wake_all(control_->generation);
}

void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::int64_t timeout_us) {
  timespec timeout{timeout_us / 1000000, (timeout_us % 1000000) * 1000};
  syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), FUTEX_WAIT, seen, &timeout,
          nullptr, 0);
}

void futex_wake_all(const std::atomic<std::uint32_t>& word) {
  syscall(SYS_futex, reinterpret_cast<const std::uint32_t*>(&word), FUTEX_WAKE, INT32_MAX, nullptr,
          nullptr, 0);
}

}  // namespace muster
