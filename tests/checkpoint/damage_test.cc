// Damage of every kind in every file of a checkpoint: always found, always named, never used.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>

#include "memory_env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/restore_search.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;

class DamageTest : public ::testing::Test {
 protected:
  static constexpr int kWriters = 2;

  DamageTest() : store_("/run/checkpoints", env_) {
    store_.prepare();
    save(store_, state_, 1, kWriters);
    path_ = save(store_, state_, 2, kWriters);
    files_ = env_.list_directory(path_);
  }

  /// What verify() and reading say: every message, joined. The first line is empty when all is
  /// well.
  std::string findings() {
    std::string found;
    try {
      for (const Problem& problem : Checkpoint::open(path_, env_).verify()) {
        EXPECT_THAT(problem.message, HasSubstr(problem.file));
        EXPECT_THAT(problem.message, HasSubstr(problem.tensor));
        found += problem.message + "\n";
      }
    } catch (const CheckpointError& error) {
      found += error.what();
    }
    return found;
  }

  /// The damage just done to `file` is found and named, and the checkpoint before is used instead.
  void expect_found(const std::string& file, const std::string& what) {
    ASSERT_THAT(findings(), HasSubstr(file)) << what;
    ASSERT_EQ(loaded_step(), 1) << what;
    // Back to where it was, for the next blow.
    auto aside = path_;
    aside += ".damaged";
    ASSERT_TRUE(env_.exists(aside)) << what;
    env_.rename(aside, path_);
  }

  /// As two ranks restore: a part each, in one pass. What reaches its place is right even where
  /// the checkpoint is not.
  std::int64_t loaded_step() {
    RestoreSearch search(store_, env_);
    while (const auto checkpoint = search.next()) {
      std::string damage;
      for (int reader = 0; reader < 2; ++reader) {
        LoadedPart part(state_, {reader, 2}, std::byte{0xa5});
        damage += summary(checkpoint->load(part.targets, {reader, 2}));
        expect_right_or_untouched(part);
      }
      if (damage.empty()) return checkpoint->manifest().step;
      search.reject(damage);
    }
    return 0;
  }

  void expect_right_or_untouched(const LoadedPart& part) {
    for (std::size_t i = 0; i < state_.size(); ++i) {
      const TensorRange& range = part.targets[i].range;
      const std::byte* expected = state_[i].data.data() + range.begin * dtype_bytes(range.dtype);
      for (const std::byte byte : part.memory[i]) {
        ASSERT_TRUE(byte == *expected || byte == std::byte{0xa5}) << describe(range);
        ++expected;
      }
    }
  }

  MemoryEnv env_;
  CheckpointStore store_;
  const SampleState state_ = sample_state(1);
  std::filesystem::path path_;
  std::vector<std::string> files_;
};

TEST_F(DamageTest, AnUntouchedCheckpointHasNoProblems) {
  EXPECT_EQ(findings(), "");
  EXPECT_EQ(files_.size(), kWriters + 2u);  // manifest.json, model.h5
}

TEST_F(DamageTest, EveryFlippedBitIsFound) {
  std::mt19937_64 random(11);
  for (const std::string& file : files_) {
    std::string& content = env_.content(path_ / file);
    for (int i = 0; i < 100; ++i) {
      const std::size_t at = random() % content.size();
      const char bit = static_cast<char>(1 << (random() % 8));
      content[at] = static_cast<char>(content[at] ^ bit);
      expect_found(file, file + ": bit flipped in byte " + std::to_string(at));
      content[at] = static_cast<char>(content[at] ^ bit);
    }
  }
  EXPECT_EQ(findings(), "");
}

TEST_F(DamageTest, EveryFlippedBitOfTheFirstAndLastBytesIsFound) {
  for (const std::string& file : files_) {
    std::string& content = env_.content(path_ / file);
    for (const std::size_t at : {std::size_t{0}, std::size_t{9}, content.size() - 1,
                                 content.size() - 2, content.size() - 6}) {
      for (int bit = 0; bit < 8; ++bit) {
        content[at] = static_cast<char>(content[at] ^ (1 << bit));
        expect_found(file, file + ": bit flipped in byte " + std::to_string(at));
        content[at] = static_cast<char>(content[at] ^ (1 << bit));
      }
    }
  }
}

TEST_F(DamageTest, EveryTruncationIsFound) {
  std::mt19937_64 random(12);
  for (const std::string& file : files_) {
    std::string& content = env_.content(path_ / file);
    const std::string whole = content;
    std::vector<std::size_t> lengths = {0, 1, 8, 511, 512, 4095, 4096, whole.size() - 1};
    for (int i = 0; i < 30; ++i) lengths.push_back(random() % whole.size());
    for (const std::size_t length : lengths) {
      if (length >= whole.size()) continue;
      content.resize(length);
      expect_found(file, file + " cut to " + std::to_string(length));
      content = whole;
    }
  }
}

TEST_F(DamageTest, AppendedBytesAreFound) {
  for (const std::string& file : files_) {
    std::string& content = env_.content(path_ / file);
    content.push_back('\0');
    expect_found(file, file + " with a byte more");
    content.pop_back();
  }
}

TEST_F(DamageTest, ZeroedBlocksAreFound) {
  for (const std::string& file : files_) {
    std::string& content = env_.content(path_ / file);
    const std::string whole = content;
    for (std::size_t at = 0; at < whole.size(); at += 512) {
      content.replace(at, std::min<std::size_t>(512, whole.size() - at),
                      std::min<std::size_t>(512, whole.size() - at), '\0');
      // Zeros over zeros are no damage.
      if (content == whole) continue;
      expect_found(file, file + " zeroed at " + std::to_string(at));
      content = whole;
    }
  }
}

TEST_F(DamageTest, AMissingFileIsFound) {
  for (const std::string& file : files_) {
    env_.rename(path_ / file, "/kept");
    expect_found(file, file + " missing");
    env_.rename("/kept", path_ / file);
  }
}

TEST_F(DamageTest, SwappedAndStaleFilesAreFound) {
  std::string& first = env_.content(path_ / files_[1]);
  std::string& second = env_.content(path_ / files_[2]);
  std::swap(first, second);
  expect_found(files_[1], "shards swapped");
  std::swap(first, second);
  // The same tensors of the same sizes, but of another step.
  SampleState later = state_;
  later[0].data[17] ^= std::byte{1};
  const auto other = save(store_, later, 3, kWriters);
  const std::string kept = first;
  first = env_.content(other / files_[1]);
  env_.remove_all(other);
  expect_found(files_[1], "a shard of another step");
  first = kept;
  EXPECT_EQ(findings(), "");
}

TEST_F(DamageTest, ReadingDamagedBytesNamesFileTensorAndOffset) {
  const Checkpoint checkpoint = Checkpoint::open(path_, env_);
  const Piece& piece = checkpoint.manifest().tensors.at("head.weight").pieces[1];
  std::string& content = env_.content(path_ / "rank-00001-of-00002.h5");
  content[static_cast<std::size_t>(piece.offset_bytes) + 3] ^= 1;
  EXPECT_THAT(message_of([&] { first_difference(checkpoint, state_); }),
              ::testing::AllOf(
                  HasSubstr("step-00000002/rank-00001-of-00002.h5"), HasSubstr("'head.weight'"),
                  HasSubstr("offset " + std::to_string(piece.offset_bytes)), HasSubstr("damaged")));
  EXPECT_THAT(message_of([&] { checkpoint.state_hash(); }), HasSubstr("'head.weight'"));
  const std::vector<Problem> problems = checkpoint.verify();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_EQ(problems[0].tensor, "head.weight");
  EXPECT_EQ(problems[0].file, "rank-00001-of-00002.h5");
  EXPECT_EQ(problems[0].offset_bytes, piece.offset_bytes);
  // The other half of the tensor is in the other file and can be read still.
  const TensorRange sound{"head.weight", DType::kFloat64, {10, 97}, 0, 485};
  std::vector<std::byte> out(static_cast<std::size_t>(sound.bytes()));
  EXPECT_EQ(message_of([&] { checkpoint.read(sound, out.data()); }), "no error");
}

TEST_F(DamageTest, ReadingATruncatedFileSaysSo) {
  const Checkpoint checkpoint = Checkpoint::open(path_, env_);
  env_.content(path_ / "rank-00001-of-00002.h5").resize(5000);
  EXPECT_THAT(message_of([&] { first_difference(checkpoint, state_); }),
              ::testing::AllOf(HasSubstr("rank-00001-of-00002.h5"), HasSubstr("truncated")));
}

TEST_F(DamageTest, AnUnreadableFileIsNamedByLoad) {
  const Checkpoint checkpoint = Checkpoint::open(path_, env_);
  LoadedPart part(state_, {}, std::byte{});
  env_.fail_at(0, Failure::kDeath, EIO);
  EXPECT_THAT(summary(checkpoint.load(part.targets, {})), HasSubstr("rank-00000-of-00002.h5"));
  // What says nothing about the data is no damage.
  env_.fail_at(0, Failure::kDeath, EMFILE);
  EXPECT_THAT(message_of([&] { checkpoint.load(part.targets, {}); }), HasSubstr("ulimit"));
}

TEST_F(DamageTest, EachUnreadableReadIsNamedByVerify) {
  const Checkpoint checkpoint = Checkpoint::open(path_, env_);
  env_.fail_at(1000, Failure::kOnce, EIO);
  ASSERT_THAT(checkpoint.verify(), IsEmpty());
  const std::int64_t calls = env_.calls();
  for (std::int64_t call = 0; call < calls; ++call) {
    env_.fail_at(call, Failure::kDeath, EIO);
    EXPECT_THAT(checkpoint.verify(), Not(IsEmpty())) << "from call " << call;
  }
}

TEST_F(DamageTest, AManifestDamagedAfterOpeningIsFoundByVerify) {
  const Checkpoint checkpoint = Checkpoint::open(path_, env_);
  EXPECT_THAT(checkpoint.verify(), IsEmpty());
  env_.content(path_ / "manifest.json")[40] ^= 1;
  EXPECT_THAT(checkpoint.verify(), Not(IsEmpty()));
}

}  // namespace
}  // namespace muster::checkpoint
