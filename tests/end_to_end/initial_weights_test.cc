// Training that begins with weights of somewhere else: a run's, or a file's.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "job.h"
#include "muster/base/env.h"
#include "muster/checkpoint/model_weights.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using checkpoint::ModelWeights;
using ::testing::HasSubstr;
using ::testing::Not;

ProgramResult muster(std::vector<std::string> words, const fs::path& directory) {
  words.insert(words.begin(), std::string(MUSTER_BIN_DIR) + "/muster");
  return Program(words, directory).wait();
}

std::vector<std::byte> read(const ModelWeights& weights, const std::string& name) {
  const checkpoint::TensorRange& range = weights.tensors().at(name);
  std::vector<std::byte> data(static_cast<std::size_t>(range.bytes()));
  weights.read(range, data.data());
  return data;
}

class InitialWeights : public ::testing::Test {
 protected:
  /// A trained run, and its model as a safetensors file.
  InitialWeights() : trained_(MUSTER_WATCHED_FIT, {"--steps", "5"}) {
    EXPECT_EQ(trained_.run(2).exit_code, 0);
    file_ = trained_.directory() / "model.safetensors";
    EXPECT_EQ(
        muster({"export", trained_.checkpoints(), "--safetensors", file_}, trained_.directory())
            .exit_code,
        0);
  }

  /// A step that moves nothing, so that a checkpoint shows what it began with.
  std::vector<std::string> still(const fs::path& from) const {
    return {"--steps", "1", "--learning-rate", "0", "--init-from", from};
  }

  void expect_trained(const Job& job) { expect_weights(job, trained_.checkpoints()); }

  void expect_weights(const Job& job, const fs::path& expected) {
    const auto trained = ModelWeights::open(expected, *env_);
    const auto found = ModelWeights::open(job.checkpoints(), *env_);
    ASSERT_EQ(found.tensors().size(), trained.tensors().size());
    for (const auto& [name, range] : trained.tensors())
      EXPECT_EQ(read(found, name), read(trained, name)) << name;
  }

  std::unique_ptr<Env> env_ = make_system_env();
  Job trained_;
  fs::path file_;
};

TEST_F(InitialWeights, AreThoseOfTheFileAtEveryWorldSizeAndStage) {
  Job sharded(MUSTER_WATCHED_FIT, still(file_));
  const ProgramResult result = sharded.run(2, {}, {"--zero-stage", "3"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_trained(sharded);
  Job alone(MUSTER_WATCHED_FIT, still(trained_.checkpoints()));
  ASSERT_EQ(alone.run(1).exit_code, 0);
  expect_trained(alone);
  EXPECT_EQ(alone.state_hash(), sharded.state_hash());

  // A resume goes on from its own checkpoint: the file may be gone.
  fs::remove(file_);
  ASSERT_EQ(sharded.run(1, {}, {"--steps", "2"}).exit_code, 0);
  const auto newest =
      checkpoint::Checkpoint::open(sharded.checkpoint_paths().back(), *env_).manifest();
  EXPECT_EQ(newest.step, 2);
  EXPECT_EQ(newest.run_state.at("init_from"), file_.string());
}

// To a rank that looks later than rank 0 another run's newest checkpoint is another one.
TEST_F(InitialWeights, AreOfOneCheckpointWhereRanksSeeDifferentOnes) {
  const fs::path older = trained_.checkpoint_paths().back();
  ASSERT_EQ(trained_.run(2, {}, {"--steps", "9"}).exit_code, 0);
  const fs::path newer = trained_.checkpoint_paths().back();
  ASSERT_NE(newer, older);
  Job job("/bin/sh",
          {"-c", "cd $RANKS/rank-$MUSTER_RANK && exec \"$0\" \"$@\"", MUSTER_WATCHED_FIT});
  for (const char* rank : {"rank-0", "rank-1"}) {
    fs::create_directories(job.directory() / rank / "source");
    fs::create_symlink(older, job.directory() / rank / "source" / older.filename());
  }
  fs::create_symlink(newer, job.directory() / "rank-1" / "source" / newer.filename());
  const Job::Environment ranks = {{"RANKS", job.directory()}};
  std::vector<std::string> options = still("source");
  options.insert(options.end(), {"--zero-stage", "3"});
  const ProgramResult result = job.run(2, {}, options, ranks);
  ASSERT_EQ(result.exit_code, 0) << result.err;
  expect_weights(job, older);
  const fs::path expected = fs::path("source") / older.filename();
  EXPECT_THAT(result.err, HasSubstr("training begins with " + expected.string()));
  EXPECT_EQ(checkpoint::Checkpoint::open(job.checkpoint_paths().back(), *env_)
                .manifest()
                .run_state.at("init_from"),
            expected.string());

  fs::remove_all(job.directory() / "rank-0" / "source");
  fs::remove_all(job.checkpoints());
  const ProgramResult refused = job.run(2, {}, options, ranks);
  EXPECT_EQ(refused.exit_code, kConfigError);
  EXPECT_THAT(refused.err, HasSubstr("source: expected a .safetensors file"));
}

TEST_F(InitialWeights, ThatDoNotFitAreNamedUnlessAllowed) {
  const auto source = checkpoint::SafetensorsFile::open(file_, *env_);
  const fs::path other = trained_.directory() / "other.safetensors";
  std::vector<checkpoint::TensorRange> tensors = {
      source.whole("layers.0.weight"), source.whole("layers.0.bias"),
      source.whole("layers.1.weight"), source.whole("layers.1.bias"),
      checkpoint::whole_tensor("layers.2.weight", DType::kFloat32, {10, 4})};
  checkpoint::write_safetensors(
      other, tensors, {},
      [&](const checkpoint::TensorRange& range, void* out) {
        if (range.name == "layers.2.weight") {
          std::memset(out, 0, static_cast<std::size_t>(range.bytes()));
        } else {
          source.read(range, out);
        }
      },
      *env_);
  Job job(MUSTER_WATCHED_FIT, still(other));
  const ProgramResult refused = job.run(2);
  EXPECT_EQ(refused.exit_code, 64);
  EXPECT_THAT(refused.err, HasSubstr("expected layers.2.bias float32 [1]"));
  EXPECT_THAT(refused.err, HasSubstr("found layers.2.weight float32 [10, 4]"));
  EXPECT_THAT(refused.err, Not(HasSubstr("layers.0")));
  const ProgramResult allowed = job.run(2, {}, {"--allow-missing", "layers.2.*"});
  ASSERT_EQ(allowed.exit_code, 0) << allowed.err;
  const auto found = ModelWeights::open(job.checkpoints(), *env_);
  EXPECT_EQ(read(found, "layers.0.weight"),
            read(ModelWeights::open(trained_.checkpoints(), *env_), "layers.0.weight"));
}

TEST_F(InitialWeights, OfADamagedFileOrAnImportedCheckpoint) {
  const fs::path imported = trained_.directory() / "imported";
  ASSERT_EQ(muster({"import", file_, imported}, trained_.directory()).exit_code, 0);
  Job begun(MUSTER_WATCHED_FIT, still(imported));
  ASSERT_EQ(begun.run(2).exit_code, 0);
  expect_trained(begun);
  // An imported model is no run to go on with.
  Job resumed(MUSTER_WATCHED_FIT, {"--steps", "1"});
  fs::copy(imported, resumed.checkpoints(), fs::copy_options::recursive);
  const ProgramResult result = resumed.run(1);
  EXPECT_EQ(result.exit_code, 64);
  EXPECT_THAT(result.err, HasSubstr("--init-from"));
  fs::resize_file(file_, fs::file_size(file_) - 1);
  Job damaged(MUSTER_WATCHED_FIT, still(file_));
  EXPECT_EQ(damaged.run(2).exit_code, 74);
}

}  // namespace
}  // namespace muster::testing
