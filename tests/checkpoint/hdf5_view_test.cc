// model.h5: libhdf5 reads whole tensors out of the files of any world.
#include <gtest/gtest.h>
#include <hdf5.h>

#include <algorithm>

#include "hdf5_handles.h"
#include "hdf5_skeleton.h"
#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using internal::check_hdf5;
using internal::Hdf5Handle;
using internal::link_name;

class Hdf5ViewTest : public ::testing::Test {
 protected:
  Hdf5ViewTest() : env_(make_system_env()), store_(temporary_.path() / "run", *env_) {
    store_.prepare();
  }

  TemporaryDirectory temporary_;
  std::unique_ptr<Env> env_;
  CheckpointStore store_;
};

TEST_F(Hdf5ViewTest, ShowsWholeTensorsWhateverWorldWroteThem) {
  const SampleState state = sample_state(4, true);
  for (const int writers : {1, 2, 3, 5}) {
    const auto path = save(store_, state, writers, writers);
    const Hdf5Handle file(H5Fopen((path / "model.h5").c_str(), H5F_ACC_RDONLY, H5P_DEFAULT),
                          H5Fclose, "H5Fopen");
    for (const SampleTensor& tensor : state) {
      const Hdf5Handle dataset(
          H5Dopen2(file.get(), ("/" + link_name(tensor.whole.name)).c_str(), H5P_DEFAULT), H5Dclose,
          "H5Dopen2");
      const Hdf5Handle space(H5Dget_space(dataset.get()), H5Sclose, "H5Dget_space");
      std::vector<hsize_t> dims(static_cast<std::size_t>(H5Sget_simple_extent_ndims(space.get())));
      check_hdf5(H5Sget_simple_extent_dims(space.get(), dims.data(), nullptr), "dims");
      EXPECT_TRUE(std::equal(dims.begin(), dims.end(), tensor.whole.shape.begin(),
                             tensor.whole.shape.end()))
          << tensor.whole.name;
      const Hdf5Handle type(H5Dget_type(dataset.get()), H5Tclose, "H5Dget_type");
      std::vector<std::byte> read(tensor.data.size() + 1);
      check_hdf5(H5Dread(dataset.get(), type.get(), H5S_ALL, H5S_ALL, H5P_DEFAULT, read.data()),
                 "H5Dread");
      read.pop_back();
      EXPECT_EQ(read, tensor.data) << tensor.whole.name << " of " << writers;
    }
  }
}

TEST_F(Hdf5ViewTest, EqualStatesGiveEqualFilesUnderTheirChecksum) {
  const SampleState state = sample_state(4);
  const std::string bytes = env_->read_text(save(store_, state, 1, 2) / "model.h5");
  CheckpointStore other(temporary_.path() / "other", *env_);
  other.prepare();
  const auto path = save(other, state, 1, 2);
  EXPECT_EQ(env_->read_text(path / "model.h5"), bytes);
  const Checkpoint checkpoint = Checkpoint::open(path, *env_);
  EXPECT_TRUE(checkpoint.verify().empty());
  std::string damaged = bytes;
  damaged[damaged.size() / 2] = static_cast<char>(damaged[damaged.size() / 2] ^ 8);
  env_->write_text_atomically(path / "model.h5", damaged);
  const auto problems = checkpoint.verify();
  ASSERT_EQ(problems.size(), 1u);
  EXPECT_NE(problems.front().message.find("model.h5"), std::string::npos);
}

}  // namespace
}  // namespace muster::checkpoint
