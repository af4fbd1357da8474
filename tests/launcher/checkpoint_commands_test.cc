// The commands over checkpoints and models: checkpoints, prune, export, import, model, and what
// inspect, verify and diff say of numbers and of hostile files.
#include <gmock/gmock.h>
#include <unistd.h>

#include <cstring>
#include <fstream>
#include <limits>

#include "launcher/muster_process.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/directory_lock.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::launcher::testing {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Not;

class CheckpointCommandsTest : public MusterCommandTest {
 protected:
  /// A trainer's checkpoint of one weight {first, 2, 3} and its momentum.
  std::filesystem::path write_checkpoint(const std::string& folder, std::int64_t step,
                                         float first = 1, Json run_state = Json::object()) {
    checkpoint::CheckpointStore store(directory_.path() / folder, *env_);
    store.prepare();
    const float weight[] = {first, 2, 3}, momentum[] = {0, 0, 0};
    const std::vector<checkpoint::SourceRange> sources = {
        {checkpoint::whole_tensor("model.fc.weight", DType::kFloat32, {3}), weight},
        {checkpoint::whole_tensor("optimizer.momentum.fc.weight", DType::kFloat32, {3}), momentum}};
    run_state["progress"] = {{"step", step}};
    return store.commit(step, 0, {store.write_shard(step, 0, 0, 1, sources)}, run_state);
  }

  /// What a run with --score max:accuracy stores.
  Json scored(double accuracy, std::int64_t best_step) {
    return {{"metrics", {{"accuracy", accuracy}, {"loss", 1 - accuracy}}},
            {"score",
             {{"metric", "accuracy"},
              {"larger_is_better", true},
              {"best_step", best_step},
              {"best", 0.9}}}};
  }

  /// Steps 1 to 6; the best by accuracy is 2, by loss then 2, 4.
  void write_run(const std::string& folder) {
    const double accuracy[] = {0.1, 0.9, 0.3, 0.8, 0.5, 0.2};
    for (int step = 1; step <= 6; ++step)
      write_checkpoint(folder, step, 1, scored(accuracy[step - 1], step < 2 ? 1 : 2));
  }

  /// The checkpoints, whole or set aside.
  std::vector<std::string> steps_in(const std::string& folder) {
    std::vector<std::string> names = env_->list_directory(directory_.path() / folder);
    std::erase(names, checkpoint::kLockFile);
    return names;
  }

  void overwrite(const std::filesystem::path& file, const std::string& content) {
    std::ofstream(file, std::ios::binary) << content;
  }

  std::unique_ptr<Env> env_ = make_system_env();
};

TEST_F(CheckpointCommandsTest, InspectShowsATreeWithStatistics) {
  const auto path = write_checkpoint("run", 3, -4);
  EXPECT_EQ(run({"inspect", path}), 0);
  EXPECT_THAT(output_, AllOf(HasSubstr("\n  model\n    fc\n      weight "),
                             HasSubstr("\n  optimizer\n    momentum\n      fc\n        weight "),
                             HasSubstr("min -4 max 3 mean 0.3333 std 3.091"),
                             HasSubstr("written by  muster 0.1.0, 1 rank")));
  EXPECT_EQ(run({"inspect", path, "--json"}), 0);
  const Json tensor = parse_json(output_, "output")["tensors"][0];
  EXPECT_EQ(tensor["min"], -4);
  EXPECT_EQ(tensor["max"], 3);
  EXPECT_EQ(tensor["finite"], 3);
  EXPECT_EQ(tensor["not_finite"], 0);
  write_checkpoint("bad", 3, std::numeric_limits<float>::quiet_NaN());
  EXPECT_EQ(run({"inspect", "bad"}), 0);
  EXPECT_THAT(output_, HasSubstr("1 NOT FINITE"));
}

TEST_F(CheckpointCommandsTest, DiffSaysHowFarTensorsAreApart) {
  write_checkpoint("a", 3, 1);
  write_checkpoint("b", 3, 1.25f);
  EXPECT_EQ(run({"diff", "a", "b"}), 1);
  EXPECT_THAT(output_, HasSubstr("by at most 0.25 (relative 0.2)"));
  EXPECT_EQ(run({"diff", "a", "b", "--json"}), 1);
  const Json json = parse_json(output_, "output");
  EXPECT_FALSE(json["equal"]);
  ASSERT_EQ(json["tensors"].size(), 1u);
  EXPECT_EQ(json["tensors"][0]["name"], "model.fc.weight");
  EXPECT_EQ(json["tensors"][0]["kind"], "bits");
  EXPECT_EQ(json["tensors"][0]["max_absolute"], 0.25);
  EXPECT_EQ(json["tensors"][0]["max_relative"], 0.2);
  EXPECT_EQ(run({"diff", "a", "a", "--json"}), 0);
  EXPECT_TRUE(parse_json(output_, "output")["equal"]);
}

TEST_F(CheckpointCommandsTest, CheckpointsListsARunAndRuns) {
  write_run("runs/a");
  write_checkpoint("runs/b", 12);
  std::filesystem::create_directories(directory_.path() / "runs/a/.attempt-step-00000007-g2");
  std::filesystem::create_directories(directory_.path() / "runs/a/step-00000000.damaged");
  std::filesystem::resize_file(directory_.path() / "runs/a/step-00000005/rank-00000-of-00001.h5",
                               9);
  EXPECT_EQ(run({"checkpoints", "runs/a", "--json"}), 0);
  const Json listed = parse_json(output_, "output")["runs"][0]["checkpoints"];
  ASSERT_EQ(listed.size(), 8u);
  EXPECT_EQ(listed[0]["state"], "set aside");
  EXPECT_EQ(listed[2]["step"], 2);
  EXPECT_EQ(listed[2]["state"], "complete");
  EXPECT_EQ(listed[2]["score"], 0.9);
  EXPECT_EQ(listed[2]["metric"], "accuracy");
  EXPECT_EQ(listed[2]["best"], true);
  EXPECT_EQ(listed[3]["best"], false);
  EXPECT_EQ(listed[2]["tier"], "disk");
  EXPECT_EQ(listed[5]["state"], "damaged");
  EXPECT_THAT(listed[5]["problem"].get<std::string>(), HasSubstr("found 9"));
  EXPECT_EQ(listed[7]["state"], "being written");
  EXPECT_EQ(run({"checkpoints", "runs", "--metric", "loss"}), 0);
  EXPECT_THAT(output_, AllOf(HasSubstr("a\n"), HasSubstr("b\n"), HasSubstr("loss 0.7"),
                             HasSubstr("loss 0.1 (best)")));
  EXPECT_EQ(run({"checkpoints", "nowhere"}), 64);
  std::filesystem::create_directory(directory_.path() / "empty");
  EXPECT_EQ(run({"checkpoints", "empty"}), 64);
}

TEST_F(CheckpointCommandsTest, PruneSaysFirstAndDeletesWhenTold) {
  write_run("run");
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--keep-every", "3"}), 0);
  EXPECT_THAT(output_, AllOf(HasSubstr("delete run/step-00000001"), HasSubstr("(the run's best)"),
                             HasSubstr("(every 3)"), HasSubstr("give --delete")));
  EXPECT_EQ(steps_in("run").size(), 6u);
  EXPECT_EQ(
      run({"prune", "run", "--keep", "1", "--keep-best", "2", "--score", "min:loss", "--delete"}),
      0);
  EXPECT_THAT(steps_in("run"), ElementsAre("step-00000002", "step-00000004", "step-00000006"));
  EXPECT_EQ(run({"prune", "run", "--keep", "9", "--delete"}), 0);
  EXPECT_THAT(output_, HasSubstr("nothing to delete"));
}

TEST_F(CheckpointCommandsTest, PruneNeverDeletesTheOnlyGoodOne) {
  for (int step = 1; step <= 3; ++step) {
    const auto path = write_checkpoint("run", step);
    if (step == 2) continue;
    std::fstream file(path / "rank-00000-of-00001.h5",
                      std::ios::in | std::ios::out | std::ios::binary);
    file.seekp(5000);
    file.put('x');
  }
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--delete"}), 0);
  EXPECT_THAT(steps_in("run"), ElementsAre("step-00000002", "step-00000003.damaged"));
  std::filesystem::remove(directory_.path() / "run/step-00000002/manifest.json");
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--delete"}), 64);
  EXPECT_EQ(steps_in("run").size(), 2u);
}

TEST_F(CheckpointCommandsTest, PruneAndImportKeepAwayFromALiveRun) {
  write_run("run");
  EXPECT_EQ(run({"export", "run", "--safetensors", "m.safetensors"}), 0);
  checkpoint::DirectoryLock lock(directory_.path() / "run");
  lock.take();
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--delete"}), 64);
  EXPECT_THAT(error_, HasSubstr("locked by process " + std::to_string(getpid())));
  EXPECT_EQ(run({"import", "m.safetensors", "run"}), 64);
  EXPECT_THAT(error_, HasSubstr("locked by process " + std::to_string(getpid())));
  EXPECT_EQ(run({"prune", "run", "--keep", "1"}), 0);  // says it only
  EXPECT_EQ(steps_in("run").size(), 6u);
}

TEST_F(CheckpointCommandsTest, PruneRefusesWhatItCannotMean) {
  write_run("run");
  EXPECT_EQ(run({"prune", "run"}), 64);
  EXPECT_EQ(run({"prune", "run", "--keep", "0"}), 64);
  EXPECT_EQ(run({"prune", "run", "--keep", "two"}), 64);
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--keep-best", "2"}), 64);
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--keep-best", "2", "--score", "accuracy"}), 64);
  EXPECT_EQ(run({"prune", "run", "--keep", "1", "--delete", "--dry-run"}), 64);
  EXPECT_EQ(run({"prune", "nowhere", "--keep", "1"}), 74);
  EXPECT_EQ(steps_in("run").size(), 6u);
}

TEST_F(CheckpointCommandsTest, AModelGoesOutAndComesBack) {
  write_checkpoint("run", 3, 1e6f);
  EXPECT_EQ(run({"export", "run", "--safetensors", "m.safetensors"}), 0);
  EXPECT_THAT(output_, HasSubstr("1 tensors, 12 bytes"));
  EXPECT_EQ(run({"inspect", "m.safetensors"}), 0);
  EXPECT_THAT(output_, AllOf(HasSubstr("fc\n    weight"), HasSubstr("format: pt")));
  EXPECT_EQ(run({"import", "m.safetensors", "imported"}), 0);
  EXPECT_EQ(run({"verify", "imported"}), 0);
  EXPECT_EQ(run({"export", "imported", "--safetensors", "back.safetensors"}), 0);
  const auto first = checkpoint::SafetensorsFile::open(directory_.path() / "m.safetensors", *env_);
  const auto back =
      checkpoint::SafetensorsFile::open(directory_.path() / "back.safetensors", *env_);
  float a[3], b[3];
  first.read(first.whole("fc.weight"), a);
  back.read(back.whole("fc.weight"), b);
  EXPECT_EQ(std::memcmp(a, b, sizeof(a)), 0);
  EXPECT_EQ(a[0], 1e6f);
  EXPECT_EQ(run({"export", "run", "--hdf5", "m.h5", "--dtype", "float16", "--all"}), 0);
  EXPECT_THAT(output_, HasSubstr("2 tensors, 12 bytes"));
  EXPECT_THAT(error_, HasSubstr("model.fc.weight: 1 elements are too large"));
  EXPECT_THAT(env_->read_text(directory_.path() / "m.h5"), HasSubstr("\x89HDF\r\n"));
}

TEST_F(CheckpointCommandsTest, ExportAndImportRefuseWithoutATrace) {
  write_checkpoint("run", 3);
  EXPECT_EQ(run({"export", "run"}), 64);
  EXPECT_EQ(run({"export", "run", "--safetensors", "a", "--hdf5", "b"}), 64);
  EXPECT_EQ(run({"export", "run", "--safetensors", "a", "--dtype", "int8"}), 64);
  EXPECT_EQ(run({"export", "run", "--safetensors", "a", "--ema"}), 74);
  EXPECT_EQ(run({"export", "run", "--hdf5", "no/such/directory"}), 74);
  EXPECT_EQ(run({"import", "nowhere", "x"}), 74);
  overwrite(directory_.path() / "broken.safetensors", "not one");
  EXPECT_EQ(run({"import", "broken.safetensors", "x"}), 74);
  EXPECT_EQ(run({"inspect", "broken.safetensors"}), 74);
  EXPECT_THAT(error_, HasSubstr("get it again"));
  EXPECT_FALSE(env_->exists(directory_.path() / "a"));
  EXPECT_FALSE(env_->exists(directory_.path() / "x"));
}

TEST_F(CheckpointCommandsTest, ModelsAreKeptUnderNames) {
  const auto path = write_checkpoint("runs/third", 3, 1, scored(0.75, 3));
  EXPECT_EQ(run({"model", "list"}), 64) << "no registry given";
  EXPECT_EQ(run({"model", "register", path, "digits", "--registry", "reg", "--metrics", "f1=0.5"}),
            0);
  EXPECT_THAT(output_, AllOf(HasSubstr("digits@1"), HasSubstr("run third step 3"),
                             HasSubstr("accuracy=0.75 f1=0.5 loss=0.25")));
  EXPECT_EQ(run({"model", "register", "runs/third", "digits", "--registry=reg", "--parent",
                 "digits@1", "--json"}),
            0);
  EXPECT_EQ(parse_json(output_, "output")["parent"], "digits@1");
  EXPECT_EQ(run({"model", "promote", "digits", "1", "production", "--registry", "reg"}), 0);
  EXPECT_EQ(run({"model", "get", "digits@production", "--registry", "reg"}), 0);
  EXPECT_EQ(output_, "reg/models/digits/versions/v00000001/checkpoint\n");
  EXPECT_EQ(run({"verify", output_.substr(0, output_.size() - 1)}), 0);
  EXPECT_EQ(run({"model", "get", "digits", "--registry", "reg", "--json"}), 0);
  EXPECT_EQ(parse_json(output_, "output")["version"], 2);
  // A run that began with a version of the registry has it as its parent.
  write_checkpoint(
      "runs/fine", 9, 2,
      {{"init_from", directory_.path() / "reg/models/digits/versions/v00000002/checkpoint"}});
  EXPECT_EQ(run({"model", "register", "runs/fine", "tuned", "--registry", "reg"}), 0);
  EXPECT_THAT(output_, HasSubstr(" from digits@2 "));
  EXPECT_EQ(run({"model", "list", "digits", "--registry", "reg", "--json"}), 0);
  const Json listed = parse_json(output_, "output");
  ASSERT_EQ(listed.size(), 2u);
  EXPECT_EQ(listed[0]["stages"], Json({"production"}));
  EXPECT_EQ(listed[0]["digest"], checkpoint::Checkpoint::open(path, *env_).state_hash());
  for (const std::vector<std::string>& wrong : std::vector<std::vector<std::string>>{
           {"model"},
           {"model", "registr", path, "digits"},
           {"model", "get", "other", "--registry", "reg"},
           {"model", "get", "digits@", "--registry", "reg"},
           {"model", "promote", "digits", "one", "x", "--registry", "reg"},
           {"model", "promote", "digits", "3", "x", "--registry", "reg"},
           {"model", "register", path, "a/b", "--registry", "reg"},
           {"model", "register", path, "m", "--registry", "reg", "--metrics", "x"}}) {
    EXPECT_EQ(run(wrong), 64) << ::testing::PrintToString(wrong);
  }
}

// Muster reads checkpoints by plain reads: HDF5's own parser never sees a file that somebody gives.
TEST_F(CheckpointCommandsTest, AHostileHdf5FileInACheckpointIsDamage) {
  const auto path = write_checkpoint("run", 3) / "rank-00000-of-00001.h5";
  std::string content = env_->read_text(path);
  for (std::size_t at = 8; at < 96; ++at) content[at] = '\xff';  // superblock and root group
  overwrite(path, content);
  EXPECT_EQ(run({"verify", "run"}), 74);
  EXPECT_THAT(output_, HasSubstr("structure"));
  overwrite(path, "\x89HDF\r\n\x1a\n");
  EXPECT_EQ(run({"verify", "run"}), 74);
  EXPECT_EQ(run({"inspect", "run"}), 74);
  EXPECT_EQ(run({"inspect", path}), 64) << "a file is no checkpoint";
}

}  // namespace
}  // namespace muster::launcher::testing
