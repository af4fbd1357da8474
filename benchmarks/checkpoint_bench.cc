// Measures saving and restoring a checkpoint on this machine's disk; benchmarks/compare_checkpoint
// runs it beside its peers. docs/benchmarks.md says how to read the figures.
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <fstream>
#include <iostream>
#include <optional>
#include <random>
#include <thread>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/hash.h"
#include "muster/base/json.h"
#include "muster/base/options.h"
#include "muster/checkpoint/async_writer.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_search.h"

namespace muster::bench {
namespace {

namespace fs = std::filesystem;
using checkpoint::AsyncWriter;
using checkpoint::CheckpointStore;
using checkpoint::SourceRange;
using checkpoint::TargetRange;
using checkpoint::TensorRange;
using Clock = std::chrono::steady_clock;

constexpr const char* kDescription =
    "Saves and restores a made-up state of one rank and prints a JSON object a line.\n"
    "  --mode speed   bytes a second of raw direct I/O and of durable saves; how long a step "
    "waits\n"
    "                 for a save, beside a memcpy of the state; how long a restore takes, cold\n"
    "  --mode save    saves step 1, says so, and leaves: for who cuts the power then\n"
    "  --mode load    leaves with 0 when step 1 is there with the right bytes, with 1 otherwise\n"
    "  --mode flips   flips a random bit of a checkpoint's files, again and again, and restores\n";

constexpr int kTensors = 24;
constexpr std::size_t kSliceBytes = 4 << 20;

double seconds_since(Clock::time_point begin) {
  return std::chrono::duration<double>(Clock::now() - begin).count();
}

struct Options {
  std::string mode = "speed";
  std::string directory;
  std::int64_t mib = 512;
  std::int64_t saves = 5;
  std::int64_t flips = 100;
  std::int64_t seed = 1;
};

/// Tensors of a mebibyte or more, in memory of their own each, as a model's are.
class State {
 public:
  State(std::int64_t mib, std::uint64_t seed) {
    const std::int64_t numel = (mib << 20) / kTensors / 4;
    for (int i = 0; i < kTensors; ++i) {
      const std::string name = "model/layers." + std::to_string(i) + ".weight";
      ranges_.push_back(checkpoint::whole_tensor(name, DType::kFloat32, {numel}));
      memory_.emplace_back(static_cast<std::size_t>(numel));
      std::uint32_t word = static_cast<std::uint32_t>(hash64(name, seed));
      for (std::uint32_t& element : memory_.back()) element = word = word * 1664525u + 1013904223u;
    }
  }

  std::vector<SourceRange> sources() const {
    std::vector<SourceRange> sources;
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      sources.push_back({ranges_[i], memory_[i].data()});
    }
    return sources;
  }
  double megabytes() const {
    double bytes = 0;
    for (const TensorRange& range : ranges_) bytes += static_cast<double>(range.bytes());
    return bytes / 1e6;
  }
  std::vector<TargetRange> targets() {
    std::vector<TargetRange> targets;
    for (std::size_t i = 0; i < ranges_.size(); ++i) {
      targets.push_back({ranges_[i], memory_[i].data()});
    }
    return targets;
  }
  bool operator==(const State& other) const { return memory_ == other.memory_; }

 private:
  std::vector<TensorRange> ranges_;
  std::vector<std::vector<std::uint32_t>> memory_;
};

/// What the disk takes: the same bytes by two threads past the page cache, into allocated space,
/// and an fsync.
double raw_megabytes_a_second(const fs::path& directory, double megabytes) {
  const fs::path path = directory / "raw";
  const std::size_t slices = static_cast<std::size_t>(megabytes * 1e6) / kSliceBytes;
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_DIRECT | O_CLOEXEC, 0644);
  if (fd < 0) throw FileError("open for direct I/O", path, errno);
  void* block = std::aligned_alloc(4096, kSliceBytes);
  std::memset(block, 0x5a, kSliceBytes);
  const auto begin = Clock::now();
  int error = fallocate(fd, 0, 0, static_cast<off_t>(slices * kSliceBytes)) == 0 ? 0 : errno;
  std::atomic<std::size_t> next{0};
  std::atomic<bool> failed{false};
  const auto work = [&] {
    for (std::size_t i = next++; i < slices; i = next++) {
      const auto written = pwrite(fd, block, kSliceBytes, static_cast<off_t>(i * kSliceBytes));
      if (written != static_cast<ssize_t>(kSliceBytes)) failed = true;
    }
  };
  std::thread other(work);
  work();
  other.join();
  if (fsync(fd) != 0) error = errno;
  const double seconds = seconds_since(begin);
  close(fd);
  std::free(block);
  fs::remove(path);
  if (error != 0 || failed) throw FileError("write directly", path, error != 0 ? error : EIO);
  return static_cast<double>(slices * kSliceBytes) / 1e6 / seconds;
}

double memcpy_seconds(const State& state) {
  static std::vector<std::vector<std::byte>> copies;  // warm after the first call
  double seconds = 0;
  for (const int turn : {0, 1}) {
    const auto begin = Clock::now();
    std::size_t i = 0;
    for (const SourceRange& source : state.sources()) {
      const auto bytes = static_cast<std::size_t>(source.range.bytes());
      if (turn == 0 && copies.size() <= i) copies.emplace_back(bytes);
      std::memcpy(copies[i++].data(), source.data, bytes);
    }
    seconds = seconds_since(begin);
  }
  return seconds;
}

/// Out of the page cache, so that the next reader asks the disk.
void forget(const fs::path& directory) {
  for (const auto& entry : fs::recursive_directory_iterator(directory)) {
    if (!entry.is_regular_file()) continue;
    const int fd = open(entry.path().c_str(), O_RDONLY | O_CLOEXEC);
    if (fd < 0) continue;
    fsync(fd);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    close(fd);
  }
}

class Bench {
 public:
  explicit Bench(const Options& options)
      : options_(options),
        env_(make_system_env()),
        store_(fs::path(options.directory) / "checkpoints", *env_),
        state_(options.mib, static_cast<std::uint64_t>(options.seed)) {}

  void speed() {
    store_.prepare();
    AsyncWriter writer(store_);
    save(writer, 1);  // the first one gets its staging memory
    Json stalls = Json::array();
    Json copies = Json::array();
    Json saves = Json::array();
    Json raws = Json::array();
    for (std::int64_t step = 2; step < options_.saves + 2; ++step) {
      raws.push_back(raw_megabytes_a_second(options_.directory, state_.megabytes()));
      copies.push_back(memcpy_seconds(state_) * 1e3);
      const auto begin = Clock::now();
      const double stall = save(writer, step);
      saves.push_back(state_.megabytes() / seconds_since(begin));
      stalls.push_back(stall * 1e3);
    }
    forget(store_.directory());
    State restored(options_.mib, static_cast<std::uint64_t>(options_.seed) + 1);
    const auto begin = Clock::now();
    restore(restored);
    const double restore_seconds = seconds_since(begin);
    print({{"raw_mb_s", raws},
           {"memcpy_ms", copies},
           {"stall_ms", stalls},
           {"durable_mb_s", saves},
           {"restore_s", restore_seconds},
           {"right", restored == state_}});
  }

  void save_one() {
    store_.prepare();
    AsyncWriter writer(store_);
    save(writer, 1);
    std::cout << "saved" << std::endl;
  }

  int load() {
    State restored(options_.mib, static_cast<std::uint64_t>(options_.seed) + 1);
    return restore(restored) == 1 && restored == state_ ? 0 : 1;
  }

  void flips() {
    save_one();
    const fs::path path = store_.directory() / checkpoint::step_directory_name(1);
    std::vector<std::string> files = env_->list_directory(path);
    std::mt19937_64 random(static_cast<std::uint64_t>(options_.seed));
    std::int64_t detected = 0;
    std::int64_t silent = 0;
    for (std::int64_t i = 0; i < options_.flips; ++i) {
      const fs::path file = pick_by_size(path, files, random);
      const std::uint64_t bit = random() % (fs::file_size(file) * 8);
      flip(file, bit);
      State restored(options_.mib, static_cast<std::uint64_t>(options_.seed) + 1);
      if (!restore(restored)) {
        ++detected;
        fs::rename(path.string() + ".damaged", path);
      } else if (!(restored == state_)) {
        ++silent;
      }
      flip(file, bit);
    }
    print({{"flips", options_.flips}, {"detected", detected}, {"silent", silent}});
  }

 private:
  /// Returns how long the step waited.
  double save(AsyncWriter& writer, std::int64_t step) {
    const auto begin = Clock::now();
    writer.start_shard(step, 0, 0, 1, state_.sources());
    const double stall = seconds_since(begin);
    const checkpoint::ShardWritten written = writer.wait_shard();
    const Json run_state = {{"progress", {{"step", step}}}};
    writer.start_commit(step, 0, {written.record}, run_state, {.keep_last = 1000});
    writer.wait_commit();
    return stall;
  }

  /// As a run does when it starts: the newest checkpoint whose bytes are right. Returns its step.
  std::optional<std::int64_t> restore(State& state) {
    checkpoint::RestoreSearch search(store_, *env_);
    while (const auto checkpoint = search.next()) {
      const std::string damage = summary(checkpoint->load(state.targets(), {}));
      if (damage.empty()) return checkpoint->manifest().step;
      search.reject(damage);
    }
    return std::nullopt;
  }

  static fs::path pick_by_size(const fs::path& directory, const std::vector<std::string>& files,
                               std::mt19937_64& random) {
    std::uint64_t total = 0;
    for (const std::string& file : files) total += fs::file_size(directory / file);
    std::uint64_t at = random() % total;
    for (const std::string& file : files) {
      if (at < fs::file_size(directory / file)) return directory / file;
      at -= fs::file_size(directory / file);
    }
    return directory / files.back();
  }

  static void flip(const fs::path& path, std::uint64_t bit) {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    const auto at = static_cast<std::streamoff>(bit / 8);
    file.seekg(at);
    const char byte = static_cast<char>(file.get() ^ (1 << (bit % 8)));
    file.seekp(at);
    file.put(byte);
  }

  static void print(const Json& row) { std::cout << row.dump() << std::endl; }

  const Options options_;
  std::unique_ptr<Env> env_;
  CheckpointStore store_;
  State state_;
};

int run(int argc, char** argv) {
  Options options;
  OptionSet set("checkpoint_bench", kDescription);
  set.add_choice("mode", &options.mode, {"speed", "save", "load", "flips"}, "What to do");
  set.add("directory", &options.directory, "An empty directory on the disk to be measured");
  set.add("mib", &options.mib, "MiB of state");
  set.add("saves", &options.saves, "Saves to measure");
  set.add("flips", &options.flips, "Bits to flip, one at a time");
  set.add("seed", &options.seed, "Of the state, and of the bits");
  if (set.parse(argc, argv) == OptionSet::Outcome::kHelp) {
    std::cout << set.help();
    return 0;
  }
  if (options.directory.empty() || options.mib < 1 || options.saves < 1) {
    throw ConfigError("expected a --directory, and 1 or more for --mib and --saves; see --help");
  }
  Bench bench(options);
  if (options.mode == "load") return bench.load();
  if (options.mode == "speed") bench.speed();
  if (options.mode == "save") bench.save_one();
  if (options.mode == "flips") bench.flips();
  return 0;
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  try {
    return muster::bench::run(argc, argv);
  } catch (const muster::Error& error) {
    std::cerr << "checkpoint_bench: " << error.what() << "\n";
    return static_cast<int>(error.exit_code());
  } catch (const std::exception& error) {
    std::cerr << "checkpoint_bench: " << error.what() << "\n";
    return 1;
  }
}
