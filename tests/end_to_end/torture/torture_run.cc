// Lives and what they must leave.
#include "torture_run.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <optional>
#include <utility>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::testing {

using checkpoint::Checkpoint;
using checkpoint::CheckpointStore;
using checkpoint::Info;

std::int64_t torture_setting(const char* name, std::int64_t otherwise) {
  const char* value = std::getenv(name);
  return value == nullptr ? otherwise : std::atoll(value);
}

std::uint64_t torture_seed() {
  return static_cast<std::uint64_t>(torture_setting("MUSTER_TORTURE_SEED", 1));
}

TortureRun::TortureRun(std::filesystem::path directory, std::uint64_t seed, std::int64_t kilobytes)
    : directory_(std::move(directory)),
      seed_(seed),
      kilobytes_(kilobytes),
      state_(seed, kilobytes) {}

std::unique_ptr<Life> TortureRun::start(int ranks, const std::vector<std::string>& more) {
  std::vector<std::string> arguments = {
      "directory=" + directory_.string(), "seed=" + std::to_string(seed_),
      "kilobytes=" + std::to_string(kilobytes_), "generation=" + std::to_string(generation_++),
      "ranks=" + std::to_string(ranks)};
  arguments.insert(arguments.end(), more.begin(), more.end());
  return std::make_unique<Life>(arguments);
}

void TortureRun::remember(const Life& life, const std::string& what) {
  if (life.restored() >= 0) {
    EXPECT_GE(life.restored(), acknowledged_) << what << ": an acknowledged step is lost";
  }
  acknowledged_ = std::max(acknowledged_, life.last_saved());
  acknowledgements_ += static_cast<std::int64_t>(life.saved().size());
}

void TortureRun::check(const std::string& what, bool may_be_damaged) {
  const auto env = make_system_env();
  CheckpointStore store(directory_, *env);
  try {
    store.prepare();
    for (const Info& info : store.list()) {
      EXPECT_TRUE(info.complete) << what << ": " << info.path;
    }
    const std::optional<Checkpoint> newest = store.newest_valid();
    const std::int64_t step = newest ? newest->manifest().step : 0;
    EXPECT_GE(step, acknowledged_) << what << ": an acknowledged step is lost";
    if (newest) {
      EXPECT_EQ(newest->state_hash(), hash_of(step)) << what << ": step " << step;
    }
  } catch (const CheckpointError& error) {
    ADD_FAILURE() << what << ": " << error.what();
  }
  for (const std::string& name : env->list_directory(directory_)) {
    if (name.find("damaged") == std::string::npos) continue;
    EXPECT_TRUE(may_be_damaged) << what << ": " << name << ": only whole ones get the name";
    env->remove_all(directory_ / name);
  }
}

const std::string& TortureRun::hash_of(std::int64_t step) {
  std::string& hash = hashes_[step];
  if (hash.empty()) hash = state_.hash(step);
  return hash;
}

std::string PlannedCrash::argument(const std::string& blow) const {
  return "crash=" + std::to_string(rank) + "," + name + "," + std::to_string(occurrence) + "," +
         (half_way ? "half" : "before") + "," + blow;
}

std::vector<PlannedCrash> planned_crashes(TortureRun& run, int ranks,
                                          const std::vector<std::string>& arguments, int most) {
  std::vector<std::string> listing = arguments;
  listing.push_back("list=1");
  const auto life = run.start(ranks, listing);
  EXPECT_EQ(life->finish(), 0);
  std::vector<PlannedCrash> planned;
  for (const auto& [rank, names] : life->points()) {
    for (const auto& [name, count] : names) {
      for (int occurrence = 1; occurrence <= count; ++occurrence) {
        if (occurrence > (most + 1) / 2 && occurrence <= count - most / 2) continue;
        planned.push_back({rank, name, occurrence, false});
        if (name.starts_with("write ")) planned.push_back({rank, name, occurrence, true});
      }
    }
  }
  return planned;
}

}  // namespace muster::testing
