// The commands beside `run`: inspect, verify, diff, version and help on real checkpoints.
#include <gmock/gmock.h>

#include <cstring>
#include <fstream>

#include "launcher/muster_process.h"
#include "muster/base/env.h"
#include "muster/base/version.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::launcher::testing {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

class CommandsTest : public MusterCommandTest {
 protected:
  /// A checkpoint of two float tensors and a count, written by `world_size` ranks that share the
  /// first tensor.
  std::filesystem::path write_checkpoint(const std::string& folder, std::int64_t step,
                                         int world_size, float first_value = 0.25f) {
    const checkpoint::CheckpointStore store(directory_.path() / folder, *env_);
    const_cast<checkpoint::CheckpointStore&>(store).prepare();
    std::vector<float> weight(12, 1.5f);
    weight[0] = first_value;
    const float bias[] = {1, 2, 3};
    std::vector<checkpoint::ShardRecord> records;
    for (int rank = 0; rank < world_size; ++rank) {
      const std::int64_t begin = 12 * rank / world_size, end = 12 * (rank + 1) / world_size;
      std::vector<checkpoint::SourceRange> sources{
          {{"weight", DType::kFloat32, {3, 4}, begin, end}, weight.data() + begin}};
      if (rank == 0)
        sources.push_back({checkpoint::whole_tensor("bias", DType::kFloat32, {3}), bias});
      records.push_back(store.write_shard(step, 0, rank, world_size, sources));
    }
    return store.commit(step, 0, records, {{"progress", {{"step", step}}}, {"job", {{"seed", 7}}}});
  }

  void damage(const std::filesystem::path& file) {
    std::fstream stream(file, std::ios::in | std::ios::out | std::ios::binary);
    stream.seekg(-1, std::ios::end);
    const char last = static_cast<char>(stream.get());
    stream.seekp(-1, std::ios::end);
    stream.put(static_cast<char>(last ^ 1));
  }

  std::unique_ptr<Env> env_ = make_system_env();
};

TEST_F(CommandsTest, InspectSaysWhatIsThere) {
  write_checkpoint("a", 3, 1);
  const auto newest = write_checkpoint("a", 20, 2);
  EXPECT_EQ(run({"inspect", "a"}), 0);
  for (const char* word :
       {"step-00000020", "weight", "float32", "[3, 4]", "48 bytes", "2 ranks", "\"seed\":7"}) {
    EXPECT_THAT(output_, HasSubstr(word));
  }
  EXPECT_EQ(run({"inspect", newest, "--json"}), 0);
  const Json json = parse_json(output_, "output");
  EXPECT_EQ(json["step"], 20);
  EXPECT_EQ(json["world_size"], 2);
  EXPECT_EQ(json["tensor_bytes"], 60);
  EXPECT_EQ(json["tensors"].size(), 2u);
  EXPECT_EQ(json["tensors"][1]["name"], "weight");
  EXPECT_EQ(json["tensors"][1]["shape"], Json({3, 4}));
  EXPECT_EQ(json["files"].size(), 3u);  // of two ranks, and model.h5
  EXPECT_EQ(json["state_hash"], checkpoint::Checkpoint::open(newest, *env_).state_hash());
}

TEST_F(CommandsTest, InspectGoesPastADamagedManifestAndSaysSo) {
  write_checkpoint("a", 3, 1);
  damage(write_checkpoint("a", 4, 1) / "manifest.json");
  EXPECT_EQ(run({"inspect", "a", "--json"}), 0);
  EXPECT_EQ(parse_json(output_, "output")["step"], 3);
  EXPECT_THAT(error_, HasSubstr("step-00000004"));
}

TEST_F(CommandsTest, VerifyFindsOneWrongBit) {
  write_checkpoint("a", 3, 2);
  const auto second = write_checkpoint("a", 4, 2);
  EXPECT_EQ(run({"verify", "a"}), 0);
  EXPECT_THAT(output_, HasSubstr("step-00000003: sound"));
  EXPECT_THAT(output_, HasSubstr("step-00000004: sound"));
  damage(second / "rank-00001-of-00002.h5");
  EXPECT_EQ(run({"verify", "a"}), 74);
  EXPECT_THAT(output_, HasSubstr("step-00000003: sound"));
  EXPECT_THAT(output_, HasSubstr("step-00000004: damaged"));
  EXPECT_THAT(output_, HasSubstr("rank-00001-of-00002.h5"));
  std::filesystem::remove(second / "manifest.json");
  EXPECT_EQ(run({"verify", second}), 74);
}

TEST_F(CommandsTest, DiffComparesBitsOverWorldSizes) {
  write_checkpoint("a", 5, 1);
  write_checkpoint("b", 5, 3);
  EXPECT_EQ(run({"diff", "a", "b"}), 0);
  EXPECT_THAT(output_, HasSubstr("equal"));
  write_checkpoint("c", 5, 2, 0.75f);
  EXPECT_EQ(run({"diff", "a", "c"}), 1);
  EXPECT_THAT(output_, HasSubstr("weight: 1 of 12 elements differ"));
  EXPECT_THAT(output_, HasSubstr("by at most 0.5"));
  EXPECT_THAT(output_, Not(HasSubstr("bias")));
  write_checkpoint("d", 6, 1);
  EXPECT_EQ(run({"diff", "a", "d"}), 1) << "equal tensors at another step are another state";
}

TEST_F(CommandsTest, MissingCheckpointsAreConfigErrors) {
  std::filesystem::create_directory(directory_.path() / "empty");
  for (const char* command : {"inspect", "verify"}) {
    EXPECT_EQ(run({command, "nowhere"}), 64) << command;
    EXPECT_THAT(error_, HasSubstr("no 'nowhere'"));
    EXPECT_EQ(run({command, "empty"}), 64) << command;
    EXPECT_THAT(error_, HasSubstr("none in 'empty'"));
    EXPECT_EQ(run({command}), 64) << command;
  }
  EXPECT_EQ(run({"diff", "empty", "empty"}), 64);
  EXPECT_EQ(run({"diff", "a"}), 64);
}

TEST_F(CommandsTest, HelpAndVersion) {
  const char* const names[] = {"run",   "inspect", "verify",  "diff",  "checkpoints",
                               "prune", "export",  "import",  "model", "flight",
                               "plan",  "doctor",  "version", "help"};
  EXPECT_EQ(run({"--help"}), 0);
  for (const char* name : names) {
    EXPECT_THAT(output_, HasSubstr("\n  muster " + std::string(name) + "  "));
  }
  for (const char* name : names) {
    EXPECT_EQ(run({"help", name}), 0);
    EXPECT_NE(output_, "");
  }
  EXPECT_EQ(run({"version"}), 0);
  EXPECT_THAT(output_, HasSubstr(std::string("muster ") + kVersion));
  EXPECT_EQ(run({}), 64);
}

// A flag is a promise. Where a change is meant: muster help NAME >
// tests/launcher/golden/help_NAME.txt
TEST_F(CommandsTest, HelpTextsAreWhatTheyWere) {
  for (const char* name :
       {"inspect", "verify", "diff", "checkpoints", "prune", "export", "import", "copy", "model"}) {
    EXPECT_EQ(run({"help", name}), 0);
    EXPECT_EQ(output_, env_->read_text(std::filesystem::path(MUSTER_TEST_DIR) / "golden" /
                                       ("help_" + std::string(name) + ".txt")));
    EXPECT_EQ(run({name, "--help"}), 0);
    EXPECT_THAT(output_, HasSubstr("usage: muster " + std::string(name)));
  }
}

TEST_F(CommandsTest, MistakesGetTheNearestName) {
  EXPECT_EQ(run({"inspct", "a"}), 64);
  EXPECT_THAT(error_, HasSubstr("did you mean muster inspect?"));
  EXPECT_EQ(run({"help", "verfy"}), 64);
  EXPECT_THAT(error_, HasSubstr("did you mean verify?"));
  EXPECT_EQ(run({"inspect", "a", "--jsn"}), 64);
  EXPECT_THAT(error_, HasSubstr("did you mean --json?"));
}

// What makes `muster` start in milliseconds, and work where the GPU stack is broken.
TEST_F(CommandsTest, TheProgramLoadsNoHeavyLibrary) {
  setenv("LD_TRACE_LOADED_OBJECTS", "1", 1);
  EXPECT_EQ(run({"--help"}), 0);
  unsetenv("LD_TRACE_LOADED_OBJECTS");
  EXPECT_THAT(output_, HasSubstr("libc.so"));
  for (const char* library : {"torch", "libc10", "libmpi", "libcuda", "libhdf5", "libcurl"}) {
    EXPECT_THAT(output_, Not(HasSubstr(library)));
  }
}

}  // namespace
}  // namespace muster::launcher::testing
