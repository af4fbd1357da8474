// The files as other programs see them: the HDF5 library reads back every tensor, its type, shape
// and attributes.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>
#include <cmath>

#include "hdf5_handles.h"
#include "hdf5_skeleton.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using internal::check_hdf5;
using internal::dataset_path;
using internal::Hdf5Handle;

Hdf5Handle open_file(const std::filesystem::path& path) {
  return Hdf5Handle(H5Fopen(path.c_str(), H5F_ACC_RDONLY, H5P_DEFAULT), H5Fclose, "H5Fopen");
}

Hdf5Handle open_dataset(const Hdf5Handle& file, const TensorRange& range) {
  return Hdf5Handle(H5Dopen2(file.get(), dataset_path(range).c_str(), H5P_DEFAULT), H5Dclose,
                    "H5Dopen2");
}

std::vector<hsize_t> dims_of(const Hdf5Handle& dataset) {
  const Hdf5Handle space(H5Dget_space(dataset.get()), H5Sclose, "H5Dget_space");
  std::vector<hsize_t> dims(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.get())));
  check_hdf5(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), "dims");
  return dims;
}

std::int64_t number_attribute(hid_t object, const char* name) {
  const Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, "H5Aopen");
  std::int64_t value = -1;
  check_hdf5(H5Aread(attribute.get(), H5T_NATIVE_INT64, &value), "H5Aread");
  return value;
}

std::string text_attribute(hid_t object, const char* name) {
  const Hdf5Handle attribute(H5Aopen(object, name, H5P_DEFAULT), H5Aclose, "H5Aopen");
  const Hdf5Handle type(H5Aget_type(attribute.get()), H5Tclose, "H5Aget_type");
  std::string value(H5Tget_size(type.get()), '\0');
  check_hdf5(H5Aread(attribute.get(), type.get(), value.data()), "H5Aread");
  return value;
}

class Hdf5FileTest : public ::testing::Test {
 protected:
  Hdf5FileTest() : env_(make_system_env()), store_(temporary_.path() / "run", *env_) {
    store_.prepare();
  }

  TemporaryDirectory temporary_;
  std::unique_ptr<Env> env_;
  CheckpointStore store_;
};

TEST_F(Hdf5FileTest, TheLibraryReadsEveryBytePartByPart) {
  constexpr int kWriters = 3;
  const SampleState state = sample_state(4, true);
  const auto path = save(store_, state, 8, kWriters, 2);
  for (int rank = 0; rank < kWriters; ++rank) {
    const Hdf5Handle file = open_file(path / ("rank-0000" + std::to_string(rank) + "-of-00003.h5"));
    for (const SourceRange& source : shard_of(state, rank, kWriters)) {
      const Hdf5Handle dataset = open_dataset(file, source.range);
      const Hdf5Handle type(H5Dget_type(dataset.get()), H5Tclose, "H5Dget_type");
      ASSERT_EQ(static_cast<std::int64_t>(H5Tget_size(type.get())),
                dtype_bytes(source.range.dtype));
      std::vector<std::byte> read(static_cast<std::size_t>(source.range.bytes()) + 1);
      // Read in the file's own type, so nothing is converted.
      check_hdf5(H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, read.data()),
                 "H5Dread");
      const auto* expected = static_cast<const std::byte*>(source.data);
      EXPECT_TRUE(std::equal(read.begin(), read.end() - 1, expected)) << describe(source.range);
      EXPECT_EQ(text_attribute(dataset.get(), "tensor"), source.range.name);
      EXPECT_EQ(text_attribute(dataset.get(), "dtype"), dtype_name(source.range.dtype));
      EXPECT_EQ(number_attribute(dataset.get(), "begin"), source.range.begin);
      EXPECT_EQ(number_attribute(dataset.get(), "end"), source.range.end);
    }
    EXPECT_EQ(number_attribute(file.get(), "muster_format_version"), 2);
    EXPECT_EQ(number_attribute(file.get(), "step"), 8);
    EXPECT_EQ(number_attribute(file.get(), "generation"), 2);
    EXPECT_EQ(number_attribute(file.get(), "rank"), rank);
    EXPECT_EQ(number_attribute(file.get(), "world_size"), kWriters);
  }
}

TEST_F(Hdf5FileTest, AWholeTensorKeepsItsShape) {
  const SampleState state = sample_state(4);
  const Hdf5Handle file = open_file(save(store_, state, 1) / "rank-00000-of-00001.h5");
  for (const SampleTensor& tensor : state) {
    const Hdf5Handle dataset = open_dataset(file, tensor.whole);
    const std::vector<hsize_t> expected(tensor.whole.shape.begin(), tensor.whole.shape.end());
    EXPECT_EQ(dims_of(dataset), expected) << tensor.whole.name;
  }
}

TEST_F(Hdf5FileTest, SixteenBitFloatsHaveTheirValues) {
  // 1, -2.5 and the smallest step above 1, as bfloat16 and as IEEE half.
  const std::uint16_t brain[] = {0x3f80, 0xc020, 0x3f81};
  const std::uint16_t half[] = {0x3c00, 0xc100, 0x3c01};
  const std::vector<SourceRange> sources = {{whole_tensor("brain", DType::kBFloat16, {3}), brain},
                                            {whole_tensor("half", DType::kFloat16, {3}), half}};
  const auto path = store_.commit(1, 0, {store_.write_shard(1, 0, 0, 1, sources)}, Json::object());
  const Hdf5Handle file = open_file(path / "rank-00000-of-00001.h5");
  const auto read = [&](const SourceRange& source) {
    const Hdf5Handle dataset = open_dataset(file, source.range);
    std::vector<double> values(3);
    check_hdf5(
        H5Dread(dataset.get(), H5T_NATIVE_DOUBLE, H5S_ALL, H5S_ALL, H5P_DEFAULT, values.data()),
        "H5Dread");
    return values;
  };
  EXPECT_THAT(read(sources[0]), ::testing::ElementsAre(1.0, -2.5, 1.0 + std::ldexp(1.0, -7)));
  EXPECT_THAT(read(sources[1]), ::testing::ElementsAre(1.0, -2.5, 1.0 + std::ldexp(1.0, -10)));
}

TEST_F(Hdf5FileTest, EqualStatesGiveEqualFiles) {
  const SampleState state = sample_state(4);
  const auto sources = shard_of(state, 0, 1);
  const ShardRecord first = store_.write_shard(1, 0, 0, 1, sources);
  const auto path = store_.directory() / ".attempt-step-00000001-g0" / first.file;
  const std::string bytes = env_->read_text(path);
  EXPECT_EQ(store_.write_shard(1, 0, 0, 1, sources), first);
  EXPECT_EQ(env_->read_text(path), bytes);
  // Times would differ from one second to the next.
  const Hdf5Handle file = open_file(path);
  const Hdf5Handle dataset = open_dataset(file, sources.front().range);
  const Hdf5Handle properties(H5Dget_create_plist(dataset.get()), H5Pclose, "H5Dget_create_plist");
  hbool_t times = true;
  check_hdf5(H5Pget_obj_track_times(properties.get(), &times), "H5Pget_obj_track_times");
  EXPECT_FALSE(times);
}

TEST_F(Hdf5FileTest, LargeDatasetsStartOnAPage) {
  const SampleState state = sample_state(4, true);
  const ShardRecord record = store_.write_shard(1, 0, 0, 1, shard_of(state, 0, 1));
  for (const StoredRange& stored : record.ranges) {
    if (stored.range.bytes() >= 4096) {
      EXPECT_EQ(stored.offset_bytes % 4096, 0) << stored.range.name;
    }
  }
}

TEST_F(Hdf5FileTest, ManySmallTensorsStaySmall) {
  std::vector<float> data(64);
  std::vector<SourceRange> sources;
  for (int i = 0; i < 500; ++i) {
    sources.push_back({whole_tensor("layers." + std::to_string(i) + ".bias", DType::kFloat32, {64}),
                       data.data()});
  }
  const ShardRecord record = store_.write_shard(1, 0, 0, 1, sources);
  EXPECT_LT(record.bytes, 500 * 1500) << "256 bytes of data each, and what HDF5 adds";
}

TEST_F(Hdf5FileTest, AnEmptyShardIsAFile) {
  const ShardRecord record = store_.write_shard(1, 0, 0, 1, {});
  const auto path = store_.commit(1, 0, {record}, Json::object());
  EXPECT_GE(open_file(path / record.file).get(), 0);
  EXPECT_TRUE(store_.newest_valid());
}

}  // namespace
}  // namespace muster::checkpoint
