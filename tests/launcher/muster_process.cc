// Starting, watching and clearing away the program under test.
#include "launcher/muster_process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <thread>

#include "launcher/rank_program.h"
#include "process_tree.h"

namespace muster::launcher::testing {
namespace {

constexpr const char* kMusterProgram = MUSTER_BIN_DIR "/muster";

int create_file(const std::filesystem::path& path) {
  return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644);
}

}  // namespace

bool eventually(const std::function<bool()>& condition) {
  const auto give_up = std::chrono::steady_clock::now() + kDeadline;
  while (!condition()) {
    if (std::chrono::steady_clock::now() > give_up) return false;
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  }
  return true;
}

TemporaryDirectory::TemporaryDirectory() {
  std::string pattern = (std::filesystem::temp_directory_path() / "muster-test-XXXXXX").string();
  if (mkdtemp(pattern.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = pattern;
}

TemporaryDirectory::~TemporaryDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

MusterProcess::MusterProcess(const TemporaryDirectory& directory,
                             const std::vector<std::string>& arguments, OutputTo to)
    : output_path_(directory.path() / "output"), error_path_(directory.path() / "error") {
  const FileDescriptor output(to.output < 0 ? create_file(output_path_) : dup(to.output));
  const FileDescriptor error(to.error < 0 ? create_file(error_path_) : dup(to.error));
  std::vector<char*> argv{const_cast<char*>(kMusterProgram)};
  for (const std::string& word : arguments) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  pid_ = fork();
  if (pid_ != 0) return;
  // A test runner may have these ignored; the program under test would leave them so.
  for (const int signal : {SIGINT, SIGTERM, SIGHUP}) std::signal(signal, SIG_DFL);
  if (chdir(directory.path().c_str()) != 0) _exit(95);
  dup2(output.get(), STDOUT_FILENO);
  dup2(error.get(), STDERR_FILENO);
  closefrom(3);
  execv(kMusterProgram, argv.data());
  _exit(94);
}

MusterProcess::~MusterProcess() {
  if (exit_code_ != -2) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

void MusterProcess::send_signal(int signal) { kill(pid_, signal); }

int MusterProcess::wait() {
  int status = 0;
  if (!eventually([&] { return waitpid(pid_, &status, WNOHANG) == pid_; })) {
    kill(pid_, SIGKILL);
    waitpid(pid_, nullptr, 0);
    return exit_code_ = -1;
  }
  exit_code_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
  return exit_code_;
}

std::string MusterProcess::output() const { return read_file(output_path_); }
std::string MusterProcess::error() const { return read_file(error_path_); }

int MusterCommandTest::run(const std::vector<std::string>& words) {
  MusterProcess muster(directory_, words);
  const int code = muster.wait();
  output_ = muster.output();
  error_ = muster.error();
  // The next run's go to files of their own.
  std::filesystem::remove(directory_.path() / "output");
  std::filesystem::remove(directory_.path() / "error");
  return code;
}

std::vector<std::string> MusterRunTest::run_words(const std::vector<std::string>& flags,
                                                  const std::vector<std::string>& words) const {
  std::vector<std::string> all{"run"};
  all.insert(all.end(), flags.begin(), flags.end());
  const std::string self = std::filesystem::read_symlink("/proc/self/exe");
  all.insert(all.end(), {"--log-dir", directory_.path() / "logs", "--", self, kRankProgramFlag});
  all.insert(all.end(), words.begin(), words.end());
  return all;
}

Json MusterRunTest::status() const {
  const std::string text = read_file(directory_.path() / "logs" / "run.json");
  return text.empty() ? Json() : parse_json(text, "run.json");
}

bool MusterRunTest::wait_for_state(const std::string& state) const {
  return eventually([&] {
    const Json json = status();
    return json.is_object() && json["state"] == state;
  });
}

std::string MusterRunTest::log(int generation, int rank) const {
  return read_file(directory_.path() / "logs" / ("generation-00" + std::to_string(generation)) /
                   ("rank-" + std::to_string(rank) + ".log"));
}

std::size_t MusterRunTest::survivors() const {
  const std::string run_id = status().at("run_id").get<std::string>();
  return processes_with_environment("MUSTER_RUN_ID=" + run_id).size();
}

}  // namespace muster::launcher::testing
