// What a run saved, seen by programs that know nothing of Muster: model.h5 shows whole tensors to
// Debian's HDF5 tools and to h5py, which brings a younger HDF5.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "job.h"
#include "muster/base/env.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Hdf5Readers : public ::testing::Test {
 protected:
  Hdf5Readers()
      : job_(MUSTER_WATCHED_FIT, {"--steps", "10", "--zero-stage", "3", "--precision", "bf16"}) {}

  void SetUp() override {
    // Three ranks: no tensor is in one piece.
    ASSERT_EQ(job_.run(3).exit_code, 0);
    view_ = job_.checkpoint_paths().back() / "model.h5";
    exported_ = job_.directory() / "exported.h5";
    ASSERT_EQ(run({std::string(MUSTER_BIN_DIR) + "/muster", "export", view_.parent_path().string(),
                   "--hdf5", exported_.string(), "--all"})
                  .exit_code,
              0);
  }

  ProgramResult run(const std::vector<std::string>& words,
                    const std::map<std::string, std::string>& environment = {}) {
    return Program(words, job_.directory(), environment).wait();
  }

  Job job_;
  fs::path view_;
  fs::path exported_;
};

TEST_F(Hdf5Readers, DebiansToolsSeeTheTensorsThatAreExported) {
  const auto bytes_of = [&](const fs::path& file, const std::string& tensor) {
    const fs::path out = job_.directory() / "dumped";
    const ProgramResult dump =
        run({"h5dump", "-d", "/" + tensor, "-b", "LE", "-o", out.string(), file.string()});
    EXPECT_EQ(dump.exit_code, 0) << dump.err;
    return make_system_env()->read_text(out);
  };
  for (const std::string tensor :
       {"model.layers.0.weight", "model.layers.2.bias", "optimizer.exp_avg.layers.0.weight"}) {
    EXPECT_EQ(bytes_of(view_, tensor), bytes_of(exported_, tensor)) << tensor;
    EXPECT_GE(bytes_of(view_, tensor).size(), 2u) << tensor;
  }
  const ProgramResult dump = run({"h5dump", "-d", "/model.layers.0.weight", view_.string()});
  EXPECT_THAT(dump.out, HasSubstr("SIMPLE { ( 4, 3 ) / ( 4, 3 ) }"));
}

TEST_F(Hdf5Readers, SoDoesH5py) {
  if (!fs::exists(MUSTER_H5PY_DIR))
    GTEST_SKIP() << "needs h5py in " << MUSTER_H5PY_DIR << "; run scripts/setup";
  const ProgramResult result =
      run({"/usr/bin/env", "python3", "-c",
           "import sys, h5py, numpy\n"
           "with h5py.File(sys.argv[1]) as view, h5py.File(sys.argv[2]) as exported:\n"
           "    assert set(view) == set(exported) and len(view) > 10, set(view) ^ set(exported)\n"
           "    for name in exported:\n"
           "        assert view[name].shape == exported[name].shape, name\n"
           "        assert view[name][...].tobytes() == exported[name][...].tobytes(), name\n"
           "    print(len(view), view['model.layers.0.weight'].is_virtual, "
           "h5py.version.hdf5_version)\n",
           view_.string(), exported_.string()},
          {{"PYTHONPATH", MUSTER_H5PY_DIR}});
  EXPECT_EQ(result.exit_code, 0) << result.err;
  EXPECT_THAT(result.out, HasSubstr(" True 2.0"));
}

}  // namespace
}  // namespace muster::testing
