// Sharing the memory, and meeting by one counter.
#include "bare_loop.h"

#include <ATen/ops/from_blob.h>
#include <fcntl.h>
#include <sched.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>

#include "bare_loop_kernels.h"
#include "muster/base/error.h"
#include "muster/base/node_memory.h"

namespace muster::bench {
namespace {

constexpr std::int64_t kPageBytes = 4096;
constexpr int kSpins = 30000;  // about a millisecond
constexpr int kSpinsWhenCrowded = 1;
constexpr std::int64_t kSleepUs = 10000;

// Of all ranks together: each may be bound to one.
int available_cpus(Library& library) {
  cpu_set_t own;
  CPU_ZERO(&own);
  sched_getaffinity(0, sizeof(own), &own);
  std::vector<double> any_has(CPU_SETSIZE);
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    any_has[static_cast<std::size_t>(cpu)] = CPU_ISSET(cpu, &own) ? 1 : 0;
  }
  library.maximize(any_has);
  return static_cast<int>(std::count(any_has.begin(), any_has.end(), 1));
}

inline void pause_cpu() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// An odd number of pages, so that no two buffers lie a multiple of 256 MiB apart: some CPUs take
// several times as long to walk through two such in step, since their caches tell them apart by
// lower bits of the address alone.
std::int64_t odd_pages(std::int64_t bytes) {
  return ((bytes + kPageBytes - 1) / kPageBytes | 1) * kPageBytes;
}

[[noreturn]] void throw_failed(const std::string& call) {
  throw InternalError("bare loop: expected " + call + " to work, found " + errno_text(errno) +
                      "; measure without it: --bare-loop=false");
}

}  // namespace

BareLoop::BareLoop(Library& library, std::int64_t bytes, std::chrono::milliseconds timeout)
    : rank_(library.rank()),
      world_size_(library.world_size()),
      bytes_(odd_pages(bytes)),
      timeout_(timeout),
      spins_(world_size_ <= available_cpus(library) ? kSpins : kSpinsWhenCrowded) {
  map(library);
  arrivals_ = static_cast<std::atomic<std::uint32_t>*>(mapping_);
  sleepers_ = arrivals_ + 16;  // in another cache line
  auto* const first = static_cast<std::byte*>(mapping_) + kPageBytes;
  for (int r = 0; r < world_size_; ++r) {
    buffers_.push_back(reinterpret_cast<float*>(first + r * bytes_));
  }
}

// Process and descriptor of rank 0 go round as the only positive values of a maximum.
void BareLoop::map(Library& library) {
  mapping_bytes_ = static_cast<std::size_t>(kPageBytes + bytes_ * world_size_);
  double place[2] = {0, 0};
  int fd = -1;
  if (rank_ == 0) {
    fd = memfd_create("bare_loop", MFD_CLOEXEC);
    if (fd < 0) throw_failed("memfd_create");
    if (ftruncate(fd, static_cast<off_t>(mapping_bytes_)) != 0) throw_failed("ftruncate");
    place[0] = getpid();
    place[1] = fd;
  }
  library.maximize(place);
  if (rank_ != 0) {
    const std::string path = "/proc/" + std::to_string(static_cast<int>(place[0])) + "/fd/" +
                             std::to_string(static_cast<int>(place[1]));
    fd = open(path.c_str(), O_RDWR | O_CLOEXEC);
    if (fd < 0) throw_failed("open(" + path + ")");
  }
  mapping_ = mmap(nullptr, mapping_bytes_, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  if (mapping_ == MAP_FAILED) throw_failed("mmap");
  library.barrier();  // everybody has it: rank 0 may close its descriptor
  close(fd);
}

BareLoop::~BareLoop() { munmap(mapping_, mapping_bytes_); }

at::Tensor BareLoop::buffer() const {
  return at::from_blob(buffers_[static_cast<std::size_t>(rank_)], {bytes_}, at::kByte);
}

void BareLoop::run(std::int64_t numel) {
  meet();
  add_all_into_all(buffers_, numel * rank_ / world_size_, numel * (rank_ + 1) / world_size_);
  meet();
}

// The counter wraps around; distances do not.
void BareLoop::meet() {
  const auto ranks = static_cast<std::uint32_t>(world_size_);
  const std::uint32_t all = (meetings_ += 1) * ranks;
  if (arrivals_->fetch_add(1) + 1 == all) {
    if (sleepers_->load() != 0) futex_wake_all(*arrivals_);
    return;
  }
  await(all);
}

void BareLoop::await(std::uint32_t all) {
  const auto complete = [&] { return static_cast<std::int32_t>(arrivals_->load() - all) >= 0; };
  for (int i = 0; i < spins_; ++i) {
    if (complete()) return;
    pause_cpu();
  }
  const auto deadline = std::chrono::steady_clock::now() + timeout_;
  while (!complete()) {
    sleepers_->fetch_add(1);
    const std::uint32_t seen = arrivals_->load();
    if (!complete()) futex_wait(*arrivals_, seen, kSleepUs);
    sleepers_->fetch_sub(1);
    if (std::chrono::steady_clock::now() > deadline && !complete()) {
      throw Timeout("bare loop: expected all ranks within " + std::to_string(timeout_.count()) +
                    " ms, found some absent; see what the other ranks say");
    }
  }
}

}  // namespace muster::bench
