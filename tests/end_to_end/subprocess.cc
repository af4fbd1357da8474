// Programs under test.
#include "subprocess.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <system_error>

namespace muster::testing {
namespace {

void redirect(const std::filesystem::path& path, int target) {
  const int fd = open(path.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (fd < 0 || dup2(fd, target) < 0) _exit(127);
  close(fd);
}

}  // namespace

std::string text_of(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

std::vector<std::string> mpirun(int ranks, const std::vector<std::string>& options) {
  const std::string script = ". " MUSTER_SOURCE_DIR "/scripts/env && exec mpirun \"$@\"";
  std::vector<std::string> words{"bash", "-c", script, "mpirun", "-n", std::to_string(ranks)};
  words.insert(words.end(), options.begin(), options.end());
  return words;
}

Program::Program(const std::vector<std::string>& words, const std::filesystem::path& directory,
                 const std::map<std::string, std::string>& environment)
    : directory_(directory) {
  std::vector<char*> arguments;
  for (const std::string& word : words) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  pid_ = fork();
  // To kill() the number of a failed fork means everybody.
  if (pid_ < 0) throw std::system_error(errno, std::generic_category(), "fork");
  if (pid_ == 0) {
    setpgid(0, 0);
    redirect("/dev/null", 0);
    redirect(directory / "stdout", 1);
    redirect(directory / "stderr", 2);
    for (const auto& [name, value] : environment) setenv(name.c_str(), value.c_str(), 1);
    execvp(arguments[0], arguments.data());
    _exit(127);
  }
}

Program::~Program() {
  if (!running()) return;
  kill(-pid_, SIGKILL);
  waitpid(pid_, &status_, 0);
}

bool Program::running() {
  if (!ended_ && waitpid(pid_, &status_, WNOHANG) == pid_) ended_ = true;
  return !ended_;
}

void Program::signal(int number) const { kill(pid_, number); }

std::string Program::error() const { return text_of(directory_ / "stderr"); }

ProgramResult Program::wait(std::chrono::seconds timeout) {
  if (!wait_until([&] { return !running(); }, timeout)) {
    kill(-pid_, SIGKILL);
    waitpid(pid_, &status_, 0);
    ended_ = true;
    ADD_FAILURE() << "expected the program to end within " << timeout.count() << " s; it wrote:\n"
                  << text_of(directory_ / "stdout") << text_of(directory_ / "stderr");
  }
  ProgramResult result;
  result.exit_code = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
  result.out = text_of(directory_ / "stdout");
  result.err = error();
  return result;
}

std::filesystem::path memory_directory() {
  const char* const memory = "/dev/shm";
  return access(memory, W_OK) == 0 ? memory : std::filesystem::temp_directory_path();
}

ScratchDirectory::ScratchDirectory(const std::filesystem::path& parent) {
  std::string name = (parent / "muster-test-XXXXXX").string();
  if (mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
  path_ = name;
}

ScratchDirectory::~ScratchDirectory() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

std::vector<pid_t> processes_with(const std::string& text) {
  std::vector<pid_t> pids;
  for (const auto& entry : std::filesystem::directory_iterator("/proc")) {
    const std::string name = entry.path().filename();
    if (name.find_first_not_of("0123456789") != std::string::npos) continue;
    const auto pid = static_cast<pid_t>(std::stol(name));
    if (pid != getpid() && text_of(entry.path() / "cmdline").find(text) != std::string::npos) {
      pids.push_back(pid);
    }
  }
  return pids;
}

}  // namespace muster::testing
