// Damage of every kind over every file of a checkpoint on disk: all of it is found and named, and
// the checkpoint before is used. The whole of it: scripts/torture.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <functional>
#include <iostream>
#include <random>
#include <sstream>

#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/restore_search.h"
#include "subprocess.h"
#include "torture/torture_run.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using checkpoint::Checkpoint;
using checkpoint::CheckpointStore;
using checkpoint::Problem;
using checkpoint::ShardRecord;
using checkpoint::SourceRange;
using ::testing::HasSubstr;

constexpr int kWriters = 2;

std::string content_of(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

void put(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

/// Two checkpoints of a state of some megabytes; the newer one is damaged and mended.
class Damaged : public ::testing::Test {
 protected:
  Damaged() : state_(torture_seed(), 3000), random_(torture_seed()) {
    store_.prepare();
    older_ = save(1);
    path_ = save(2);
    files_ = env_->list_directory(path_);
  }

  fs::path save(std::int64_t step) {
    std::vector<ShardRecord> records;
    for (int rank = 0; rank < kWriters; ++rank) {
      std::vector<std::vector<std::byte>> memory;
      std::vector<SourceRange> sources;
      for (const auto& range : state_.shard(rank, kWriters)) {
        memory.emplace_back(static_cast<std::size_t>(range.bytes()));
        state_.fill(range, step, memory.back().data());
        sources.push_back({range, memory.back().data()});
      }
      records.push_back(store_.write_shard(step, 0, rank, kWriters, sources));
    }
    return store_.commit(step, 0, records, state_.run_state(step, kWriters));
  }

  /// What verify() says, and opening; empty when all is well.
  std::string findings() {
    try {
      std::string found;
      for (const Problem& problem : Checkpoint::open(path_, *env_).verify()) {
        EXPECT_THAT(problem.message, HasSubstr(problem.file));
        EXPECT_THAT(problem.message, HasSubstr(problem.tensor));
        found += problem.message + "\n";
      }
      return found;
    } catch (const CheckpointError& error) {
      return error.what();
    }
  }

  /// Damages every file `MUSTER_TORTURE_DAMAGES` times. `damage` changes the content it is given,
  /// or leaves it where it found nothing to change.
  void damage_each(const std::string& kind,
                   const std::function<void(const std::string& file, std::string*)>& damage) {
    const std::int64_t times = torture_setting("MUSTER_TORTURE_DAMAGES", 20);
    std::int64_t found = 0;
    for (const std::string& file : files_) {
      const std::string whole = content_of(path_ / file);
      for (std::int64_t i = 0; i < times && !HasFailure(); ++i) {
        std::string content = whole;
        damage(file, &content);
        if (content == whole) continue;
        put(path_ / file, content);
        expect_found(kind + " of " + file, file);
        ++found;
      }
      put(path_ / file, whole);
    }
    EXPECT_EQ(findings(), "");
    EXPECT_GE(found, times) << kind;
    if (HasFailure()) return;
    std::cout << "damage: " << kind << " " << found << " times, found and named " << found
              << " times\n";
  }

  void expect_found(const std::string& what, const std::string& file) {
    EXPECT_THAT(findings(), HasSubstr(file)) << what;
    EXPECT_EQ(restored_step(), 1) << what;
    fs::rename(path_.string() + ".damaged", path_);
  }

  /// As a run of one rank does when it starts.
  std::int64_t restored_step() {
    checkpoint::RestoreSearch search(store_, *env_);
    while (const auto checkpoint = search.next()) {
      std::vector<std::vector<std::byte>> memory;
      std::vector<checkpoint::TargetRange> targets;
      for (const auto& [name, entry] : checkpoint->manifest().tensors) {
        memory.emplace_back(static_cast<std::size_t>(entry.bytes()));
        targets.push_back(
            {checkpoint::whole_tensor(name, entry.dtype, entry.shape), memory.back().data()});
      }
      const std::string damage = summary(checkpoint->load(targets, {}));
      if (damage.empty()) return checkpoint->manifest().step;
      search.reject(damage);
    }
    return 0;
  }

  std::size_t pick(std::size_t end) { return static_cast<std::size_t>(random_() % end); }

  /// The start of a block of 512 bytes or of 4 KiB, as disks have them.
  std::size_t pick_block(std::size_t content_bytes, std::size_t* block_bytes) {
    *block_bytes = random_() % 2 == 0 ? 512 : 4096;
    return pick((content_bytes + *block_bytes - 1) / *block_bytes) * *block_bytes;
  }

  ScratchDirectory scratch_;
  std::unique_ptr<Env> env_ = make_system_env();
  CheckpointStore store_{scratch_.path() / "checkpoints", *env_};
  MadeUpState state_;
  std::mt19937_64 random_;
  fs::path older_;
  fs::path path_;
  std::vector<std::string> files_;
};

TEST_F(Damaged, ByAFlippedBitIsFound) {
  damage_each("a flipped bit", [&](const std::string&, std::string* content) {
    char& byte = (*content)[pick(content->size())];
    byte = static_cast<char>(byte ^ (1 << (random_() % 8)));
  });
}

TEST_F(Damaged, ByTruncationIsFound) {
  damage_each("truncation", [&](const std::string&, std::string* content) {
    content->resize(pick(content->size()));
  });
}

TEST_F(Damaged, ByAZeroedBlockIsFound) {
  damage_each("a zeroed block", [&](const std::string&, std::string* content) {
    std::size_t bytes = 0;
    const std::size_t at = pick_block(content->size(), &bytes);
    std::fill_n(content->begin() + static_cast<std::ptrdiff_t>(at),
                std::min(bytes, content->size() - at), '\0');
  });
}

TEST_F(Damaged, BySwappedBlocksIsFound) {
  damage_each("two swapped blocks", [&](const std::string&, std::string* content) {
    std::size_t bytes = 0;
    const std::size_t first = pick_block(content->size(), &bytes);
    const std::size_t second = pick(content->size() / bytes + 1) * bytes;
    if (std::max(first, second) + bytes > content->size()) return;
    std::swap_ranges(content->begin() + static_cast<std::ptrdiff_t>(first),
                     content->begin() + static_cast<std::ptrdiff_t>(first + bytes),
                     content->begin() + static_cast<std::ptrdiff_t>(second));
  });
}

// A write that never reached the disk: the block still holds what was there before.
TEST_F(Damaged, ByAStaleBlockIsFound) {
  damage_each("a stale block", [&](const std::string& file, std::string* content) {
    const std::string stale = content_of(older_ / file);
    std::size_t bytes = 0;
    const std::size_t at = pick_block(std::min(content->size(), stale.size()), &bytes);
    const std::size_t end = std::min({at + bytes, content->size(), stale.size()});
    content->replace(at, end - at, stale, at, end - at);
  });
}

// A write that went to the wrong place, or to the wrong file.
TEST_F(Damaged, ByAMisdirectedBlockIsFound) {
  damage_each("a misdirected block", [&](const std::string&, std::string* content) {
    const std::string other = content_of(path_ / files_[pick(files_.size())]);
    std::size_t bytes = 0;
    const std::size_t from = pick_block(other.size(), &bytes);
    const std::size_t to = pick(content->size() / bytes + 1) * bytes;
    if (from + bytes > other.size() || to + bytes > content->size()) return;
    content->replace(to, bytes, other, from, bytes);
  });
}

}  // namespace
}  // namespace muster::testing
