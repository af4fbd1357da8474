// Times all_reduce and canonical_all_reduce over shared memory beside a bare shared-memory loop, in
// the same run. collectives_bench [RANKS=2]: one line a case with the median of rank 0's times.
// Checks every result.
#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "muster/base/check.h"
#include "queued_communicator.h"
#include "shm_transport.h"

namespace {

using muster::Communicator;
using muster::NodeMemory;
using Clock = std::chrono::steady_clock;

constexpr std::int64_t kMaxNumel = std::int64_t{64} << 20 >> 2;  // 64 MiB of float32

// The least that two or more processes can do: meet, each adds its share of all buffers and writes
// the sum to all, meet.
class BareLoop {
 public:
  BareLoop(NodeMemory& memory, std::uint64_t offset_bytes, int rank, int world_size)
      : rank_(rank), world_size_(world_size) {
    const std::uint64_t stride = kMaxNumel * sizeof(float);
    std::byte* base =
        memory.map(offset_bytes, 4096 + stride * static_cast<std::uint64_t>(world_size));
    arrived_ = reinterpret_cast<std::atomic<std::uint64_t>*>(base);
    for (int r = 0; r < world_size; ++r) {
      buffers_.push_back(
          reinterpret_cast<float*>(base + 4096 + stride * static_cast<std::uint64_t>(r)));
    }
  }

  float* own() { return buffers_[static_cast<std::size_t>(rank_)]; }

  void run(std::int64_t numel) {
    meet();
    const std::int64_t begin = numel * rank_ / world_size_;
    const std::int64_t end = numel * (rank_ + 1) / world_size_;
    if (world_size_ == 2) {
      add_two(buffers_[0], buffers_[1], begin, end);
    } else {
      add_all(begin, end);
    }
    meet();
  }

 private:
  __attribute__((target_clones("avx512f", "avx2", "default"), optimize("O3"))) static void add_two(
      float* a, float* b, std::int64_t begin, std::int64_t end) {
#pragma GCC ivdep
    for (std::int64_t i = begin; i < end; ++i) {
      const float sum = a[i] + b[i];
      a[i] = sum;
      b[i] = sum;
    }
  }

  void add_all(std::int64_t begin, std::int64_t end) {
    for (std::int64_t i = begin; i < end; ++i) {
      float sum = 0.0f;
      for (const float* buffer : buffers_) sum += buffer[i];
      for (float* buffer : buffers_) buffer[i] = sum;
    }
  }

  void meet() {
    const std::uint64_t all =
        (arrived_->fetch_add(1) / static_cast<std::uint64_t>(world_size_) + 1) *
        static_cast<std::uint64_t>(world_size_);
    for (int i = 1; arrived_->load() < all; ++i) {
      if (i % 10000 == 0) usleep(1);  // the other may need this core
    }
  }

  int rank_;
  int world_size_;
  std::atomic<std::uint64_t>* arrived_;
  std::vector<float*> buffers_;
};

struct Case {
  std::string name;
  float* result;                       // this rank's, numel elements
  std::function<void(float)> prepare;  // fills this rank's input
  std::function<void()> run;
  std::vector<double> seconds = {};

  double median() {
    const auto middle = seconds.begin() + static_cast<std::ptrdiff_t>(seconds.size() / 2);
    std::nth_element(seconds.begin(), middle, seconds.end());
    return *middle;
  }
  double best() const { return *std::min_element(seconds.begin(), seconds.end()); }
};

void run_once(Case& c, Communicator& communicator, std::int64_t numel, bool counts) {
  c.prepare(static_cast<float>(communicator.rank() + 1));
  communicator.barrier().wait();
  const auto start = Clock::now();
  c.run();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  if (counts) c.seconds.push_back(elapsed.count());
  const int world_size = communicator.world_size();
  const auto expected = static_cast<float>(world_size * (world_size + 1) / 2);
  MUSTER_CHECK_EQ(c.result[0], expected) << c.name;
  MUSTER_CHECK_EQ(c.result[numel - 1], expected) << c.name;
}

void print(Case& c, Case& bare, int world_size, std::int64_t bytes) {
  std::printf(
      "%d ranks %9lld bytes  %-20s median %9.2f us, best %9.2f us, %6.2f GB/s, %4.0f%% of bare\n",
      world_size, static_cast<long long>(bytes), c.name.c_str(), c.median() * 1e6, c.best() * 1e6,
      static_cast<double>(bytes) / c.median() / 1e9, 100 * bare.median() / c.median());
  std::fflush(stdout);
}

// The cases take turns, so that whatever else the machine does disturbs them alike.
void bench(int rank, int world_size, Communicator& communicator, BareLoop& bare) {
  const at::Tensor symmetric = communicator.allocate_symmetric(kMaxNumel, at::kFloat);
  const at::Tensor ordinary = at::full({kMaxNumel}, 1.0, at::kFloat);
  const muster::ReductionTree tree(world_size);
  for (const std::int64_t bytes : {1 << 10, 64 << 10, 1 << 20, 64 << 20}) {
    const std::int64_t numel = bytes / 4;
    const at::Tensor s = symmetric.narrow(0, 0, numel);
    const at::Tensor o = ordinary.narrow(0, 0, numel);
    auto* const s_data = static_cast<float*>(s.data_ptr());
    auto* const o_data = static_cast<float*>(o.data_ptr());
    std::vector<Case> cases = {
        {"bare loop", bare.own(), [&](float v) { std::fill_n(bare.own(), numel, v); },
         [&] { bare.run(numel); }},
        {"all_reduce symmetric", s_data, [&](float v) { s.fill_(v); },
         [&] { communicator.all_reduce(s).wait(); }},
        {"canonical symmetric", s_data, [&](float v) { s.fill_(v); },
         [&] { communicator.canonical_all_reduce({s}, tree).wait(); }},
        {"all_reduce ordinary", o_data, [&](float v) { o.fill_(v); },
         [&] { communicator.all_reduce(o).wait(); }},
    };
    const int runs = bytes > (1 << 20) ? 21 : 501;
    for (int i = -3; i < runs; ++i) {
      for (Case& c : cases) run_once(c, communicator, numel, i >= 0);
    }
    for (Case& c : cases) {
      if (rank == 0) print(c, cases[0], world_size, bytes);
    }
  }
}

[[noreturn]] void be_rank(int fd, int rank, int world_size) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  at::set_num_threads(1);
  std::shared_ptr<NodeMemory> memory = NodeMemory::attach(dup(fd), 0);
  memory->join(rank);
  // Far above what the communicator hands out.
  BareLoop bare(*memory, NodeMemory::kCapacityBytes / 2, rank, world_size);
  {
    muster::internal::QueuedCommunicator communicator(
        rank, world_size,
        std::make_unique<muster::internal::ShmTransport>(memory, rank, world_size),
        std::chrono::minutes(1));
    bench(rank, world_size, communicator, bare);
    communicator.barrier().wait();
  }
  memory->leave(rank);
  _exit(0);
}

}  // namespace

int main(int argc, char** argv) {
  const int world_size = argc > 1 ? std::atoi(argv[1]) : 2;
  const auto memory = NodeMemory::create(world_size, 0);
  for (int rank = 0; rank < world_size; ++rank) {
    if (fork() == 0) be_rank(memory->fd(), rank, world_size);
  }
  int failed = 0;
  for (int status = 0; wait(&status) > 0;) failed += status != 0 ? 1 : 0;
  return failed == 0 ? 0 : 1;
}
