// A training run without training: several processes save a made-up state step after step, as the
// trainer does, through the checkpoint store. It starts in milliseconds, so that it can be killed a
// thousand times.
//
//   checkpoint_run NAME=VALUE...    (the names are in Settings)
//
// What it says on standard output, each line in one write:
//   rank R PID           process PID is rank R
//   restored STEP        the newest valid checkpoint; 0 for none. Every rank read its part of it
//   saved STEP           acknowledged: it must never be lost
//   failed STEP MESSAGE  a save failed
//   left STEP MESSAGE    and what was written of it could not be removed
//   point R COUNT NAME   with list=1, at the end: rank R passed the crash point so often
//   calls R COUNT        with list=1, at the end: system calls after the restore
//   error MESSAGE        why the run ends
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <limits>
#include <map>
#include <memory>
#include <optional>
#include <sstream>
#include <utility>

#include "crash_points.h"
#include "failing_calls.h"
#include "made_up_state.h"
#include "muster/base/error.h"
#include "muster/checkpoint/async_writer.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/restore_search.h"
#include "rank_link.h"

namespace muster::testing {
namespace {

using checkpoint::AsyncWriter;
using checkpoint::Checkpoint;
using checkpoint::CheckpointStore;
using checkpoint::Reader;
using checkpoint::RestoreSearch;
using checkpoint::ShardRecord;
using checkpoint::SourceRange;
using checkpoint::TargetRange;
using checkpoint::TensorRange;

constexpr int kWrongBytes = 3;
constexpr int kPeerGone = 75;

void say(const std::string& line) {
  const std::string text = line + "\n";
  if (write(STDOUT_FILENO, text.data(), text.size()) < 0) _exit(kPeerGone);
}

class Settings {
 public:
  Settings(int argc, char** argv) {
    for (int i = 1; i < argc; ++i) {
      const std::string word = argv[i];
      const std::size_t equals = word.find('=');
      if (equals == std::string::npos) throw ConfigError("expected NAME=VALUE, found " + word);
      values_[word.substr(0, equals)] = word.substr(equals + 1);
    }
  }

  std::string text(const std::string& name) const {
    const auto found = values_.find(name);
    return found == values_.end() ? "" : found->second;
  }
  std::int64_t number(const std::string& name, std::int64_t otherwise) const {
    const std::string value = text(name);
    return value.empty() ? otherwise : std::stoll(value);
  }
  /// "a/b/c" as its parts.
  std::vector<std::string> parts(const std::string& name) const {
    std::vector<std::string> parts;
    std::istringstream stream(text(name));
    for (std::string part; std::getline(stream, part, ',');) parts.push_back(part);
    return parts;
  }

 private:
  std::map<std::string, std::string> values_;
};

/// crash=RANK,NAME,OCCURRENCE,before|half,one|all|power
std::unique_ptr<CrashPointEnv> make_env(const Settings& settings, int rank) {
  const std::vector<std::string> parts = settings.parts("crash");
  const std::string directory = settings.text("directory");
  if (parts.size() != 5 || std::stoi(parts[0]) != rank) {
    return std::make_unique<CrashPointEnv>(directory, std::nullopt, Blow::kAll);
  }
  const Blow blow = parts[4] == "power" ? Blow::kPowerCut
                    : parts[4] == "all" ? Blow::kAll
                                        : Blow::kOneProcess;
  const CrashPoint point{parts[1], std::stoi(parts[2]), parts[3] == "half"};
  return std::make_unique<CrashPointEnv>(directory, point, blow);
}

/// fail=RANK,CALL,ERRNO,once|on (ERRNO 0: a short write)
void arm_failing_calls(const Settings& settings, int rank) {
  const std::vector<std::string> parts = settings.parts("fail");
  if (parts.size() == 4 && std::stoi(parts[0]) == rank) {
    fail_calls_below(settings.text("directory"),
                     {std::stoll(parts[1]), std::stoi(parts[2]), parts[3] == "on"});
  } else if (settings.number("list", 0) != 0) {
    count_calls_below(settings.text("directory"));
  }
}

/// What a rank trains: its part of the state, changed in place.
class LiveShard {
 public:
  LiveShard(const MadeUpState& state, int rank, int world_size)
      : state_(state), ranges_(state.shard(rank, world_size)) {
    std::int64_t bytes = 0;
    for (const TensorRange& range : ranges_) bytes += range.bytes();
    memory_.resize(static_cast<std::size_t>(bytes));
    std::byte* next = memory_.data();
    for (const TensorRange& range : ranges_) {
      sources_.push_back({range, next});
      next += range.bytes();
    }
  }

  const std::vector<SourceRange>& sources() const { return sources_; }

  void train_to(std::int64_t step) {
    std::byte* next = memory_.data();
    for (const TensorRange& range : ranges_) {
      state_.fill(range, step, next);
      next += range.bytes();
    }
  }

  std::vector<TargetRange> targets() {
    std::vector<TargetRange> targets;
    std::byte* next = memory_.data();
    for (const TensorRange& range : ranges_) {
      targets.push_back({range, next});
      next += range.bytes();
    }
    return targets;
  }

  /// The name of the first tensor that is not what `step` made of it; empty where all are.
  std::string first_wrong(std::int64_t step) const {
    std::vector<std::byte> expected;
    for (const SourceRange& source : sources_) {
      expected.resize(static_cast<std::size_t>(source.range.bytes()));
      state_.fill(source.range, step, expected.data());
      const auto* found = static_cast<const std::byte*>(source.data);
      if (!std::equal(expected.begin(), expected.end(), found)) return source.range.name;
    }
    return "";
  }

 private:
  const MadeUpState& state_;
  std::vector<TensorRange> ranges_;
  std::vector<std::byte> memory_;
  std::vector<SourceRange> sources_;
};

/// One rank of the run.
class RankRun {
 public:
  RankRun(const Settings& settings, RankLink& link)
      : settings_(settings),
        link_(link),
        env_(make_env(settings, link.rank())),
        store_(settings.text("directory"), *env_),
        state_(static_cast<std::uint64_t>(settings.number("seed", 1)),
               settings.number("kilobytes", 300)),
        live_(state_, link.rank(), link.world_size()),
        generation_(static_cast<int>(settings.number("generation", 0))),
        failures_allowed_(settings.number("failures", 0)) {}

  void run() {
    const std::int64_t restored = restore();
    arm_failing_calls(settings_, link_.rank());
    AsyncWriter writer(store_,
                       settings_.number("staging", std::numeric_limits<std::int64_t>::max()));
    const bool again = settings_.number("again", 0) != 0 && restored > 0;
    const std::int64_t first = again ? restored : restored + 1;
    const std::int64_t last = restored + settings_.number("saves", 3);
    live_.train_to(first);
    for (std::int64_t step = first; step <= last; ++step) save(writer, step);
    finish_commit(writer);
    settle();
    if (settings_.number("list", 0) != 0) list();
  }

 private:
  std::int64_t restore() {
    const std::int64_t step = load_newest();
    const std::string wrong = step == 0 ? "" : live_.first_wrong(step);
    if (!wrong.empty()) {
      say("error step " + std::to_string(step) + ": expected other bytes in " + wrong);
      _exit(kWrongBytes);
    }
    link_.gather("");
    if (link_.rank() == 0) say("restored " + std::to_string(step));
    return step;
  }

  /// As the trainer does it. The step, 0 where there is no whole checkpoint.
  std::int64_t load_newest() {
    std::optional<RestoreSearch> search;
    if (link_.rank() == 0) {
      store_.prepare();
      search.emplace(store_, *env_);
    }
    while (true) {
      std::string found;
      if (search) {
        if (const auto next = search->next()) found = next->directory().string();
      }
      found = link_.broadcast(found);
      if (found.empty()) return 0;
      const Checkpoint checkpoint = Checkpoint::open(found, *env_);
      const Reader reader{link_.rank(), link_.world_size()};
      std::string damage;
      for (const std::string& one :
           link_.gather(summary(checkpoint.load(live_.targets(), reader)))) {
        if (damage.empty()) damage = one;
      }
      damage = link_.broadcast(damage);
      if (damage.empty()) return checkpoint.manifest().step;
      if (search) search->reject(damage);
    }
  }

  void save(AsyncWriter& writer, std::int64_t step) {
    finish_commit(writer);
    settle();
    writer.start_shard(step, generation_, link_.rank(), link_.world_size(), live_.sources());
    live_.train_to(step + 1);  // while the copy is being written
    std::string record;
    std::string error;
    try {
      record = writer.wait_shard().record.to_json().dump();
    } catch (const CheckpointError& failure) {
      error = failure.what();
    }
    exchange(writer, step, record, error);
  }

  /// Rank 0 hears of all parts, and commits when every rank has one.
  void exchange(AsyncWriter& writer, std::int64_t step, const std::string& record,
                const std::string& error) {
    const std::vector<std::string> errors = link_.gather(error);
    const std::vector<std::string> texts = link_.gather(record);
    if (link_.rank() != 0) return;
    for (const std::string& text : errors) {
      if (text.empty()) continue;
      failed(step, text);
      discard(step);
      return;
    }
    std::vector<ShardRecord> records;
    for (const std::string& text : texts) {
      records.push_back(ShardRecord::from_json(parse_json(text, "record")));
    }
    const auto keep = static_cast<int>(settings_.number("keep", 2));
    writer.start_commit(step, generation_, std::move(records),
                        state_.run_state(step, link_.world_size()), {.keep_last = keep});
    committing_ = step;
  }

  void finish_commit(AsyncWriter& writer) {
    if (committing_ == 0) return;
    const std::int64_t step = std::exchange(committing_, 0);
    try {
      writer.wait_commit();
      failures_ = 0;
      say("saved " + std::to_string(step));
    } catch (const CheckpointError& failure) {
      failed(step, failure.what());
    }
  }

  void failed(std::int64_t step, const std::string& message) {
    ++failures_;
    say("failed " + std::to_string(step) + " " + message);
  }

  void discard(std::int64_t step) {
    try {
      store_.discard(step, generation_);
    } catch (const CheckpointError& failure) {
      say("left " + std::to_string(step) + " " + failure.what());
    }
  }

  /// Every rank learns whether the run goes on.
  void settle() {
    const std::string verdict = link_.broadcast(failures_ > failures_allowed_ ? "end" : "");
    if (verdict.empty()) return;
    throw CheckpointError("more saves failed in a row than allowed");
  }

  void list() {
    const std::string rank = std::to_string(link_.rank());
    say("calls " + rank + " " + std::to_string(calls_counted()));
    for (const auto& [name, count] : env_->passed()) {
      say("point " + rank + " " + std::to_string(count) + " " + name);
    }
  }

  const Settings& settings_;
  RankLink& link_;
  std::unique_ptr<CrashPointEnv> env_;
  CheckpointStore store_;
  MadeUpState state_;
  LiveShard live_;
  int generation_;
  std::int64_t failures_allowed_;
  std::int64_t failures_ = 0;    // in a row; rank 0
  std::int64_t committing_ = 0;  // rank 0
};

/// Of its own, private memory: the rest is an error of the calls that want it.
void limit_memory(std::int64_t bytes) {
  const rlimit limit = {static_cast<rlim_t>(bytes), static_cast<rlim_t>(bytes)};
  if (bytes > 0 && setrlimit(RLIMIT_DATA, &limit) != 0) throw ConfigError("memory: no such limit");
}

int run_rank(const Settings& settings, RankLink& link) {
  try {
    limit_memory(settings.number("memory", 0));
    say("rank " + std::to_string(link.rank()) + " " + std::to_string(getpid()));
    RankRun(settings, link).run();
    return 0;
  } catch (const PeerGone&) {
    return kPeerGone;
  } catch (const Error& error) {
    say(std::string("error ") + error.what());
    return static_cast<int>(error.exit_code());
  }
}

int run(int argc, char** argv) {
  const Settings settings(argc, argv);
  const int world_size = static_cast<int>(settings.number("ranks", 2));
  RankLink link = RankLink::fork_ranks(world_size);
  const int code = run_rank(settings, link);
  if (link.rank() != 0) _exit(code);
  const int others = link.join();
  return code != 0 ? code : others;
}

}  // namespace
}  // namespace muster::testing

int main(int argc, char** argv) {
  try {
    return muster::testing::run(argc, argv);
  } catch (const std::exception& error) {
    std::cerr << "checkpoint_run: " << error.what() << "\n";
    return 64;
  }
}
