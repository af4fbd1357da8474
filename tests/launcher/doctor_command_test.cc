// `muster doctor` as users start it: on this machine, and on this machine made ill.
#include <gmock/gmock.h>
#include <sched.h>
#include <sys/resource.h>

#include <fstream>

#include "doctor/ask_child.h"
#include "doctor/gather.h"
#include "launcher/muster_process.h"
#include "muster/base/json.h"

namespace muster::launcher::doctor {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

constexpr std::chrono::seconds kLimit{60};

class DoctorTest : public ::testing::Test {
 protected:
  DoctorTest() {
    // What this test's own environment would add.
    for (const char* name : {"LD_LIBRARY_PATH", "OMP_NUM_THREADS", "LD_PRELOAD"}) {
      environment_.erase(name);
    }
  }

  /// `muster doctor WORDS`; the exit code.
  int run(const std::vector<std::string>& words) {
    std::vector<std::string> all{muster_, "doctor"};
    all.insert(all.end(), words.begin(), words.end());
    std::vector<std::string> lines;
    for (const auto& [name, value] : environment_) lines.push_back(name + "=" + value);
    told_ = run_program(all, lines, kLimit);
    EXPECT_FALSE(told_.timed_out);
    return told_.exit_code;
  }

  /// The same without measuring, as JSON.
  Json look(std::vector<std::string> words = {}) {
    words.insert(words.end(), {"--json", "--no-measure"});
    const int code = run(words);
    Json json = parse_json(told_.output, "muster doctor");
    EXPECT_EQ(code, json["exit_code"]) << told_.error_output;
    return json;
  }

  /// The severity of a finding; empty when it is not there.
  static std::string severity(const Json& json, const std::string& id) {
    for (const Json& one : json["findings"]) {
      if (one["id"] == id) return one["severity"];
    }
    return "";
  }

  void write_program(const std::filesystem::path& path, const std::string& script) {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path) << "#!/bin/sh\n" << script << "\n";
    std::filesystem::permissions(path, std::filesystem::perms::owner_all);
  }

  testing::TemporaryDirectory directory_;
  std::string muster_ = MUSTER_BIN_DIR "/muster";
  Environment environment_ = own_environment();
  ProgramOutput told_;
};

TEST_F(DoctorTest, TellsTheTruthOfThisMachine) {
  const Json json = look({"-n", "1"});
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
  EXPECT_EQ(json["facts"]["cpu"]["allowed"].size(), static_cast<std::size_t>(CPU_COUNT(&mask)));
  rlimit files{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &files), 0);
  EXPECT_EQ(json["facts"]["limits"]["open_files"]["soft"], files.rlim_cur);
  EXPECT_GT(json["facts"]["memory"]["total_bytes"], 0);
  EXPECT_EQ(json["facts"]["build"]["error"], "");
  EXPECT_NE(json["facts"]["build"]["libtorch"], "");
  EXPECT_EQ(severity(json, "build.starts"), "ok");
  EXPECT_TRUE(json["facts"]["in_node"].is_null());
}

TEST_F(DoctorTest, MeasuresTheRanksOfThisNode) {
  const int code = run({"-n", "2", "--json", "--dir", directory_.path()});
  const Json json = parse_json(told_.output, "muster doctor");
  EXPECT_EQ(code, json["exit_code"]);
  const Json& measured = json["facts"]["in_node"];
  ASSERT_FALSE(measured.contains("error")) << measured["error"];
  EXPECT_EQ(measured["transport"], "shm");
  EXPECT_EQ(measured["ranks"].size(), 2u);
  EXPECT_EQ(measured["hosts"], 1);
  ASSERT_GE(measured["all_reduce"].size(), 4u);
  EXPECT_EQ(measured["all_reduce"][0]["bytes"], 1024);
  for (const Json& one : measured["all_reduce"]) EXPECT_GT(one["seconds"], 0);
  EXPECT_GT(json["facts"]["storage"]["write_bytes_per_second"], 0);
  EXPECT_TRUE(std::filesystem::is_empty(directory_.path()));
}

TEST_F(DoctorTest, PrintsForPeopleToo) {
  run({"-n", "1", "--no-measure"});
  for (const char* part : {"cores ", "memory ", "limits ", "this build ", "LibTorch ", " ok\n"}) {
    EXPECT_THAT(told_.output, HasSubstr(part));
  }
  EXPECT_THAT(told_.output, Not(HasSubstr("in the node")));
}

TEST_F(DoctorTest, MoreRanksThanCores) {
  cpu_set_t mask;
  ASSERT_EQ(sched_getaffinity(0, sizeof mask, &mask), 0);
  const std::string ranks = std::to_string(std::min(256, CPU_COUNT(&mask) + 1));
  EXPECT_EQ(severity(look({"-n", ranks}), "cpu.oversubscribed"), "warning");
}

TEST_F(DoctorTest, TooFewOpenFiles) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_NOFILE, &before), 0);
  const rlimit low{1024, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_NOFILE, &low), 0);
  const Json json = look({"-n", "1"});
  setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_EQ(severity(json, "limits.open_files"), "warning");
  EXPECT_GE(json["exit_code"], 1);
}

TEST_F(DoctorTest, FilesThatMayNotBeAsLargeAsTheSharedMemory) {
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const rlimit low{1 << 30, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &low), 0);
  const Json json = look({"-n", "1"});
  setrlimit(RLIMIT_FSIZE, &before);
  EXPECT_EQ(severity(json, "limits.file_size"), "error");
  EXPECT_EQ(severity(json, "kernel.forbidden"), "") << "one cause, one finding";
}

TEST_F(DoctorTest, NoTemporaryDirectory) {
  environment_["TMPDIR"] = "/nowhere";
  EXPECT_EQ(severity(look({"-n", "1"}), "system.temporary"), "warning");
  EXPECT_EQ(run({"-n", "1", "--json"}), 2);
  EXPECT_EQ(severity(parse_json(told_.output, "muster doctor"), "measured.failed"), "error");
}

TEST_F(DoctorTest, AnotherMpirunInPath) {
  const Json healthy = look({"-n", "1"});
  const std::string built = healthy["facts"]["build"]["mpi_built"];
  if (built.empty()) GTEST_SKIP() << "this build has no MPI";
  const auto folder = directory_.path() / "old" / "bin";
  write_program(folder / "mpirun", "echo 'mpirun (Open MPI) 3.1.6'");
  environment_["PATH"] = folder.string() + ":" + environment_["PATH"];
  const Json json = look({"-n", "1"});
  EXPECT_EQ(json["facts"]["mpi"]["mpirun"][0]["version"], "3.1.6");
  EXPECT_EQ(severity(json, "mpi.version"), "error");
  EXPECT_EQ(json["exit_code"], 2);
}

TEST_F(DoctorTest, AnMpirunThatBreaksIsNamed) {
  write_program(directory_.path() / "mpirun",
                "echo 'error while loading libopen-rte.so' >&2\nexit 127");
  environment_["PATH"] = directory_.path().string();
  const Json json = look({"-n", "1"});
  EXPECT_NE(severity(json, "mpi.unknown") + severity(json, "mpi.not_built"), "");
  environment_["PATH"] = "/nowhere";
  EXPECT_NE(severity(look({"-n", "1"}), "mpi.absent") + severity(json, "mpi.not_built"), "");
}

TEST_F(DoctorTest, WorksWhereProgramsDoNotStart) {
  muster_ = directory_.path() / "muster";
  std::filesystem::copy_file(MUSTER_BIN_DIR "/muster", muster_);
  EXPECT_EQ(severity(look({"-n", "1"}), "build.absent"), "warning");
  write_program(directory_.path() / "muster-doctor-measure",
                "echo 'libtorch_cpu.so: cannot open shared object file' >&2; exit 127");
  const Json json = look({"-n", "1"});
  EXPECT_EQ(severity(json, "build.broken"), "error");
  EXPECT_EQ(json["facts"]["build"]["error"], "libtorch_cpu.so: cannot open shared object file");
}

TEST_F(DoctorTest, RanksThatFailToMeasureAreAnError) {
  muster_ = directory_.path() / "muster";
  std::filesystem::copy_file(MUSTER_BIN_DIR "/muster", muster_);
  write_program(directory_.path() / "muster-doctor-measure",
                "[ \"$1\" = --build ] && exec " MUSTER_BIN_DIR
                "/muster-doctor-measure --build\necho 'no memory' >&2\nexit 70");
  EXPECT_EQ(run({"-n", "2", "--json"}), 2);
  const Json json = parse_json(told_.output, "muster doctor");
  EXPECT_EQ(severity(json, "measured.failed"), "error");
  EXPECT_THAT(json["facts"]["in_node"]["error"].get<std::string>(), HasSubstr("no memory"));
}

TEST_F(DoctorTest, VariablesThatHurt) {
  environment_["OMP_PROC_BIND"] = "close";
  environment_["MUSTER_RANK"] = "1";
  environment_["SLURM_STEP_NUM_TASKS"] = "4";
  const Json json = look({"-n", "2"});
  EXPECT_EQ(severity(json, "environment.binding"), "warning");
  EXPECT_EQ(severity(json, "environment.muster"), "warning");
  EXPECT_EQ(severity(json, "slurm.no_pmix"), "error");
  EXPECT_EQ(json["facts"]["environment"]["OMP_PROC_BIND"], "close");
}

TEST_F(DoctorTest, ADirectoryThatIsNotThere) {
  EXPECT_EQ(severity(look({"-n", "1", "--dir", "/nowhere"}), "storage.unusable"), "error");
}

TEST_F(DoctorTest, GpusThroughTheDriversLibrary) {
  environment_["LD_LIBRARY_PATH"] = MUSTER_STAND_INS_DIR;
  const Json json = look({"-n", "1"});
  const Json& gpu = json["facts"]["gpu"];
  EXPECT_EQ(gpu["driver"], "580.65.06");
  EXPECT_EQ(gpu["cuda_of_driver"], 13000);
  ASSERT_EQ(gpu["devices"].size(), 2u);
  EXPECT_EQ(gpu["devices"][0]["name"], "NVIDIA H200");
  EXPECT_EQ(gpu["devices"][0]["memory_bytes"], std::int64_t{150} << 30);
  EXPECT_EQ(gpu["devices"][1]["active_nvlinks"], 4);
  EXPECT_EQ(gpu["pairs"][0]["path"], "between sockets");
  EXPECT_EQ(gpu["pairs"][0]["peer_access"], true);
  EXPECT_EQ(severity(json, "gpu.memory_errors"), "error");
  EXPECT_EQ(severity(json, "gpu.narrow"), "warning");
}

TEST_F(DoctorTest, ADriversLibraryThatCrashesOrRefuses) {
  environment_["LD_LIBRARY_PATH"] = MUSTER_STAND_INS_DIR;
  environment_["MUSTER_STAND_IN_NVML"] = "crashes";
  EXPECT_THAT(look({"-n", "1"})["facts"]["gpu"]["nvml_error"].get<std::string>(),
              HasSubstr("Aborted"));
  environment_["MUSTER_STAND_IN_NVML"] = "mismatch";
  EXPECT_THAT(look({"-n", "1"})["facts"]["gpu"]["nvml_error"].get<std::string>(),
              HasSubstr("different versions"));
}

TEST_F(DoctorTest, WrongFlags) {
  EXPECT_EQ(run({"--jsn"}), 64);
  EXPECT_THAT(told_.error_output, HasSubstr("did you mean --json?"));
  EXPECT_EQ(run({"-n", "257"}), 64);
  EXPECT_EQ(run({"-n", "-1"}), 64);
  EXPECT_EQ(run({"--threads", "0"}), 64);
  EXPECT_EQ(run({"node"}), 64);
  EXPECT_EQ(run({"--help"}), 0);
  for (const char* flag : {"--ranks", "--threads", "--dir", "--mpirun", "--json", "--no-measure"}) {
    EXPECT_THAT(told_.output, HasSubstr(flag));
  }
}

}  // namespace
}  // namespace muster::launcher::doctor
