// A model leaves as a safetensors or HDF5 file and comes in from one.
#include <gmock/gmock.h>
#include <hdf5.h>

#include <algorithm>
#include <cerrno>

#include "checkpoint/memory_env.h"
#include "checkpoint/sample_state.h"
#include "hdf5_handles.h"
#include "muster/checkpoint/elements.h"
#include "muster/checkpoint/export.h"
#include "muster/checkpoint/import.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::checkpoint {
namespace {

using internal::check_hdf5;
using internal::Hdf5Handle;
using ::testing::HasSubstr;

/// What a trainer would store: the sample state as a model, averages of one parameter, and an
/// optimizer's state.
SampleState trained_state(bool large = false) {
  SampleState state = sample_state(11, large);
  for (SampleTensor& tensor : state) tensor.whole.name = "model." + tensor.whole.name;
  const SampleState other = sample_state(12);
  state.push_back(other[0]);
  state.back().whole.name = "ema." + other[0].whole.name;
  state.push_back(other[1]);
  state.back().whole.name = "optimizer.momentum." + other[1].whole.name;
  return state;
}

class ExportTest : public ::testing::Test {
 protected:
  Checkpoint saved(const SampleState& state, int world_size = 3) {
    CheckpointStore store("/run", env_);
    store.prepare();
    return Checkpoint::open(save(store, state, 7, world_size), env_);
  }

  std::vector<std::byte> read(const SafetensorsFile& file, const std::string& name) {
    const TensorRange range = file.whole(name);
    std::vector<std::byte> data(static_cast<std::size_t>(range.bytes()));
    file.read(range, data.data());
    return data;
  }

  MemoryEnv env_;
};

TEST_F(ExportTest, TheModelUnderItsOwnNames) {
  const Exported exported =
      export_safetensors(saved(trained_state(true)), "/m.safetensors", {}, env_);
  const SafetensorsFile file = SafetensorsFile::open("/m.safetensors", env_);
  const SampleState model = sample_state(11, true);
  ASSERT_EQ(file.tensors().size(), model.size());
  std::int64_t bytes = 0;
  for (const SampleTensor& tensor : model) {
    EXPECT_EQ(file.whole(tensor.whole.name), tensor.whole);
    EXPECT_EQ(read(file, tensor.whole.name), tensor.data);
    bytes += tensor.whole.bytes();
  }
  EXPECT_EQ(exported.tensors, static_cast<std::int64_t>(model.size()));
  EXPECT_EQ(exported.bytes, bytes);
  EXPECT_EQ(file.metadata().at("format"), "pt");
  EXPECT_EQ(file.metadata().at("step"), "7");
}

TEST_F(ExportTest, WhoWroteTheCheckpointDoesNotShow) {
  export_safetensors(saved(trained_state(), 1), "/a", {}, env_);
  export_safetensors(saved(trained_state(), 4), "/b", {}, env_);
  EXPECT_EQ(env_.content("/a"), env_.content("/b"));
}

TEST_F(ExportTest, AveragesTakeThePlaceOfTheirParameters) {
  export_safetensors(saved(trained_state()), "/m", {.averages = true}, env_);
  const SafetensorsFile file = SafetensorsFile::open("/m", env_);
  EXPECT_EQ(file.tensors().size(), sample_state(11).size());
  EXPECT_EQ(read(file, "layer1.0.conv.weight"), sample_state(12)[0].data);
  EXPECT_EQ(read(file, "head.weight"), sample_state(11)[3].data);
}

TEST_F(ExportTest, EverythingByItsFullName) {
  export_safetensors(saved(trained_state()), "/m", {.everything = true}, env_);
  const SafetensorsFile file = SafetensorsFile::open("/m", env_);
  for (const SampleTensor& tensor : trained_state())
    EXPECT_EQ(read(file, tensor.whole.name), tensor.data);
}

TEST_F(ExportTest, FloatsAreConvertedAndOthersAreNot) {
  SampleState state = trained_state(true);
  const float numbers[] = {1, 1e6f, -0.1f, 3};  // 1e6 is infinite as float16
  state.push_back({whole_tensor("model.numbers", DType::kFloat32, {4}), {}});
  state.back().data.assign(reinterpret_cast<const std::byte*>(numbers),
                           reinterpret_cast<const std::byte*>(numbers + 4));
  const Checkpoint checkpoint = saved(state);
  const Exported exported = export_safetensors(checkpoint, "/m", {.dtype = DType::kFloat16}, env_);
  EXPECT_EQ(exported.overflows.at("numbers"), 1);
  const SafetensorsFile file = SafetensorsFile::open("/m", env_);
  for (const auto& [name, entry] : file.tensors()) {
    const TensorEntry& source = checkpoint.manifest().tensors.at("model." + name);
    EXPECT_EQ(entry.dtype, is_float(source.dtype) ? DType::kFloat16 : source.dtype) << name;
    EXPECT_EQ(entry.shape, source.shape);
  }
  // Three chunks, so that the parts of a conversion must meet.
  const SampleState model = sample_state(11, true);
  const SampleTensor& large = model.back();
  std::vector<std::byte> expected(large.data.size() / 2);
  convert_floats(DType::kFloat32, large.data.data(), DType::kFloat16, expected.data(),
                 large.whole.numel());
  EXPECT_EQ(read(file, large.whole.name), expected);
}

TEST_F(ExportTest, WhatCannotBeExportedIsSaid) {
  const Checkpoint model = saved(sample_state(1));
  EXPECT_THAT(message_of([&] { export_safetensors(model, "/m", {}, env_); }),
              HasSubstr("expected tensors of a model"));
  SampleState without_average = trained_state();
  without_average.erase(without_average.end() - 2);
  const Checkpoint checkpoint = saved(without_average);
  EXPECT_THAT(message_of([&] { export_safetensors(checkpoint, "/m", {.averages = true}, env_); }),
              HasSubstr("--ema"));
  EXPECT_THROW(export_safetensors(checkpoint, "/m", {.dtype = DType::kInt8}, env_), ConfigError);
  EXPECT_THROW(export_safetensors(checkpoint, "/m", {.everything = true, .averages = true}, env_),
               ConfigError);
  EXPECT_FALSE(env_.exists("/m"));
}

TEST_F(ExportTest, ADamagedCheckpointLeavesNoFile) {
  const Checkpoint checkpoint = saved(trained_state(), 1);
  std::string& content = env_.content("/run/step-00000007/rank-00000-of-00001.h5");
  const auto& entry = checkpoint.manifest().tensors.at("model.head.weight");
  content[static_cast<std::size_t>(entry.pieces[0].offset_bytes) + 100] ^= 1;
  EXPECT_THAT(message_of([&] { export_safetensors(checkpoint, "/m", {}, env_); }),
              HasSubstr("head.weight"));
  EXPECT_THAT(message_of([&] { export_hdf5(checkpoint, "/m", {}, env_); }),
              HasSubstr("head.weight"));
  EXPECT_FALSE(env_.exists("/m"));
  EXPECT_FALSE(env_.exists("/m.tmp"));
}

TEST(Hdf5ExportTest, TheLibraryReadsWholeTensorsByName) {
  const TemporaryDirectory directory;
  const auto env = make_system_env();
  CheckpointStore store(directory.path() / "run", *env);
  store.prepare();
  const auto checkpoint = Checkpoint::open(save(store, trained_state(true), 7, 3), *env);
  const std::filesystem::path path = directory.path() / "model.h5";
  export_hdf5(checkpoint, path, {}, *env);
  const Hdf5Handle file(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "H5Fopen");
  H5G_info_t info{};
  check_hdf5(H5Gget_info(file.get(), &info), "H5Gget_info");
  EXPECT_EQ(info.nlinks, sample_state(11, true).size());
  for (const SampleTensor& tensor : sample_state(11, true)) {
    std::string link = tensor.whole.name;
    if (link.starts_with("optimizer/")) link = "optimizer%2Fexp_avg 100%25 \xc3\xa9";
    const Hdf5Handle dataset(H5Dopen2(file.get(), link.c_str(), H5P_DEFAULT), H5Dclose, "H5Dopen2");
    const Hdf5Handle space(H5Dget_space(dataset.get()), H5Sclose, "H5Dget_space");
    std::vector<hsize_t> dims(tensor.whole.shape.size());
    ASSERT_EQ(H5Sget_simple_extent_ndims(space.get()), static_cast<int>(dims.size()));
    check_hdf5(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), "dims");
    EXPECT_TRUE(std::equal(dims.begin(), dims.end(), tensor.whole.shape.begin()));
    const Hdf5Handle type(H5Dget_type(dataset.get()), H5Tclose, "H5Dget_type");
    std::vector<std::byte> found(tensor.data.size() + 1);  // one more, to have an address
    check_hdf5(H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, found.data()),
               "H5Dread");
    found.pop_back();
    EXPECT_EQ(found, tensor.data) << link;
  }
}

// --- Import.

class ImportTest : public ExportTest {
 protected:
  SafetensorsFile exported(const SampleState& state) {
    export_safetensors(saved(state), "/m.safetensors", {}, env_);
    return SafetensorsFile::open("/m.safetensors", env_);
  }
};

TEST_F(ImportTest, TensorsComeBackAsATrainersInFilesOfAnySize) {
  const SafetensorsFile file = exported(trained_state(true));
  SampleState expected = trained_state(true);
  expected.resize(sample_state(11, true).size());
  std::string hash;
  for (const std::int64_t shard_bytes : {std::int64_t{1} << 28, std::int64_t{100'000}}) {
    const std::string directory = "/imported-" + std::to_string(shard_bytes);
    CheckpointStore store(directory, env_);
    const Checkpoint imported =
        Checkpoint::open(import_safetensors(file, store, {.shard_bytes = shard_bytes}), env_);
    EXPECT_EQ(imported.directory(), directory + "/step-00000000");
    EXPECT_EQ(first_difference(imported, expected), "");
    EXPECT_TRUE(imported.verify().empty());
    EXPECT_EQ(imported.manifest().tensors.size(), expected.size());
    EXPECT_EQ(imported.manifest().run_state.at("imported").at("file"), "m.safetensors");
    EXPECT_EQ(imported.manifest().run_state.at("imported").at("metadata").at("format"), "pt");
    if (hash.empty()) hash = imported.state_hash();
    EXPECT_EQ(imported.state_hash(), hash);
    EXPECT_EQ(imported.manifest().world_size, shard_bytes > 1'000'000 ? 1 : 25);
  }
}

TEST_F(ImportTest, WhatIsThereIsNotTouched) {
  const SafetensorsFile file = exported(trained_state());
  CheckpointStore store("/run", env_);
  EXPECT_THAT(message_of([&] { import_safetensors(file, store, {}); }),
              HasSubstr("a directory without checkpoints"));
}

TEST_F(ImportTest, AFailureLeavesNoCheckpoint) {
  const SafetensorsFile file = exported(trained_state());
  for (std::int64_t k = 0;; ++k) {
    CheckpointStore store("/imported", env_);
    env_.fail_at(k, Failure::kOnce, ENOSPC);
    const std::string message = message_of([&] { import_safetensors(file, store, {}); });
    env_.stop_failing();
    if (message == "no error") break;
    ASSERT_THAT(message, HasSubstr("ENOSPC"));
    EXPECT_FALSE(env_.exists("/imported/.attempt-step-00000000-g0"));
    // Making the name of a whole checkpoint durable may be what failed.
    for (const Info& info : store.list()) {
      EXPECT_TRUE(Checkpoint::open(info.path, env_).verify().empty());
      env_.remove_all(info.path);
    }
    ASSERT_LT(k, 200);
  }
}

}  // namespace
}  // namespace muster::checkpoint
