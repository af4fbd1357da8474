// Bounds first, then the operations. To sum S bytes over N ranks each rank must read S bytes and
// write S bytes (N slices of S / N, from and to every rank), just as for a copy of S bytes: so the
// speed at which all ranks copy at once is what an all-reduce in the node can reach at best.
#include "measure.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cstring>
#include <ctime>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "muster/base/error.h"

namespace muster::doctor {
namespace {

using Clock = std::chrono::steady_clock;

double seconds_of(const std::function<void()>& work) {
  const auto start = Clock::now();
  work();
  return std::chrono::duration<double>(Clock::now() - start).count();
}

struct Times {
  double median = 0;
  double best = 0;
};

Times summary(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return {*middle, *std::min_element(values.begin(), values.end())};
}

double thread_cpu_seconds() {
  timespec time{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time);
  return static_cast<double>(time.tv_sec) + static_cast<double>(time.tv_nsec) * 1e-9;
}

/// The part of the time in which this thread had a core while it wanted one.
double cpu_share() {
  constexpr double kComputeSeconds = 0.05;
  double cpu = 0;
  const double wall = seconds_of([&] {
    const double start = thread_cpu_seconds();
    while ((cpu = thread_cpu_seconds() - start) < kComputeSeconds) {
    }
  });
  return std::min(1.0, cpu / wall);
}

std::int64_t most_resident_bytes() {
  std::ifstream status("/proc/self/status");
  for (std::string name; status >> name;) {
    std::int64_t kibibytes = 0;
    if (name == "VmHWM:" && status >> kibibytes) return kibibytes * 1024;
  }
  return 0;
}

class CopyTest {
 public:
  explicit CopyTest(std::int64_t bytes)
      : from_(at::full({bytes}, 1, at::kByte)), to_(at::full({bytes}, 0, at::kByte)) {}

  double bytes_per_second() {
    // As long as an all-reduce is tried, so that both have the same chance of a quiet moment.
    constexpr double kSeconds = 0.3;
    constexpr std::size_t kFewest = 5;
    const auto bytes = static_cast<std::size_t>(from_.numel());
    std::vector<double> times;
    for (double all = 0; times.size() < kFewest || all < kSeconds; all += times.back()) {
      times.push_back(seconds_of([&] { std::memcpy(to_.data_ptr(), from_.data_ptr(), bytes); }));
    }
    return static_cast<double>(bytes) / summary(times).best;
  }

 private:
  at::Tensor from_;
  at::Tensor to_;
};

/// What each rank says of itself, gathered on all.
std::vector<std::string> gather_texts(Communicator& communicator, const std::string& own) {
  constexpr std::int64_t kTextBytes = 512;
  at::Tensor mine = at::full({kTextBytes}, 0, at::kByte);
  std::memcpy(mine.data_ptr(), own.data(),
              std::min(own.size(), static_cast<std::size_t>(kTextBytes - 1)));
  at::Tensor all = at::empty({kTextBytes * communicator.world_size()}, at::kByte);
  communicator.all_gather(all, mine).wait();
  std::vector<std::string> texts;
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    texts.emplace_back(static_cast<const char*>(all.data_ptr()) + rank * kTextBytes);
  }
  return texts;
}

std::string host_name() {
  std::array<char, 65> name{};
  gethostname(name.data(), name.size() - 1);
  return name.data();
}

/// The times of `call`, over as many calls as rank 0 finds fit in some tenths of a second.
Times time_calls(Communicator& communicator, const std::function<void()>& call) {
  constexpr double kSeconds = 0.3;
  constexpr std::int64_t kFewest = 3, kMost = 300;
  constexpr int kWarmUp = 3;
  const double once = seconds_of([&] {
                        for (int i = 0; i < kWarmUp; ++i) {
                          communicator.barrier().wait();
                          call();
                        }
                      }) /
                      kWarmUp;
  at::Tensor count = at::full(
      {1}, std::clamp(static_cast<std::int64_t>(kSeconds / once), kFewest, kMost), at::kLong);
  communicator.broadcast(count, 0).wait();
  std::vector<double> times;
  for (std::int64_t i = 0; i < *static_cast<std::int64_t*>(count.data_ptr()); ++i) {
    communicator.barrier().wait();
    times.push_back(seconds_of(call));
  }
  return summary(times);
}

Json time_all_reduce(Communicator& communicator, const at::Tensor& symmetric) {
  const ReductionTree tree(communicator.world_size());
  const at::Tensor tensor = symmetric;
  auto* const data = static_cast<float*>(tensor.data_ptr());
  const Times times =
      time_calls(communicator, [&] { communicator.canonical_all_reduce({tensor}, tree).wait(); });
  // One exact sum, after all those whose operands were the results of the one before.
  std::fill_n(data, tensor.numel(), static_cast<float>(communicator.rank() + 1));
  communicator.canonical_all_reduce({tensor}, tree).wait();
  const int n = communicator.world_size();
  const auto expected = static_cast<float>(n * (n + 1) / 2);
  if (std::any_of(data, data + tensor.numel(), [&](float value) { return value != expected; })) {
    throw InternalError("all_reduce: expected each element to be " + std::to_string(expected) +
                        ", found another on rank " + std::to_string(communicator.rank()) +
                        "; the memory of this machine is damaged, or Muster is");
  }
  std::fill_n(data, tensor.numel(), 0.0f);
  return {{"bytes", tensor.numel() * 4}, {"seconds", times.median}, {"best_seconds", times.best}};
}

Json time_all_reduces(Communicator& communicator, std::int64_t largest_bytes) {
  Json results = Json::array();
  if (communicator.world_size() == 1) return results;
  const at::Tensor buffer = communicator.allocate_symmetric(largest_bytes / 4, at::kFloat);
  std::int64_t last_bytes = 0;
  for (const std::int64_t size : {std::int64_t{1} << 10, std::int64_t{64} << 10,
                                  std::int64_t{1} << 20, std::int64_t{8} << 20, largest_bytes}) {
    const std::int64_t bytes = std::min(size, largest_bytes);
    if (bytes == last_bytes) continue;
    results.push_back(time_all_reduce(communicator, buffer.narrow(0, 0, bytes / 4)));
    last_bytes = bytes;
  }
  return results;
}

/// The first rank of each host sends to all others, one host after the other.
Json time_broadcasts(Communicator& communicator, const std::vector<std::string>& hosts,
                     std::int64_t bytes) {
  Json results = Json::array();
  at::Tensor tensor = at::full({bytes}, 1, at::kByte);
  for (int rank = 0; rank < communicator.world_size(); ++rank) {
    const std::string& host = hosts[static_cast<std::size_t>(rank)];
    if (std::find(hosts.begin(), hosts.begin() + rank, host) != hosts.begin() + rank) continue;
    const Times times = time_calls(communicator, [&] {
      communicator.broadcast(tensor, rank).wait();
      communicator.barrier().wait();  // the sender is done when all have it
    });
    results.push_back(
        {{"host", host}, {"bytes_per_second", static_cast<double>(bytes) / times.best}});
  }
  return results;
}

}  // namespace

Json measure(World& world, std::int64_t largest_bytes) {
  constexpr std::int64_t kMostBroadcastBytes = std::int64_t{8} << 20;
  Communicator& communicator = world.communicator();
  at::set_num_threads(1);
  CopyTest copy(largest_bytes);
  communicator.barrier().wait();
  const double alone = communicator.rank() == 0 ? copy.bytes_per_second() : 0;
  communicator.barrier().wait();
  const double share = cpu_share();
  communicator.barrier().wait();
  const double together = copy.bytes_per_second();
  const std::vector<std::string> hosts = gather_texts(communicator, host_name());
  Json all_reduce = time_all_reduces(communicator, largest_bytes);
  Json broadcasts = Json::array();
  if (std::any_of(hosts.begin(), hosts.end(), [&](const auto& h) { return h != hosts[0]; })) {
    broadcasts = time_broadcasts(communicator, hosts, std::min(largest_bytes, kMostBroadcastBytes));
  }
  Json ranks = Json::array();
  const Json own{{"rank", communicator.rank()},
                 {"host", hosts[static_cast<std::size_t>(communicator.rank())]},
                 {"cpu_share", share},
                 {"copy_bytes_per_second", together},
                 {"memory_bytes", most_resident_bytes()}};
  for (const std::string& text : gather_texts(communicator, own.dump())) {
    ranks.push_back(parse_json(text, "a rank"));
  }
  return {{"transport", world.transport()},
          {"copy_alone_bytes_per_second", alone},
          {"ranks", ranks},
          {"all_reduce", all_reduce},
          {"broadcasts", broadcasts}};
}

}  // namespace muster::doctor
