// From fork to exec.
#include "child.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <sstream>
#include <system_error>
#include <utility>

#include "muster/base/error.h"

namespace muster::launcher {
namespace {

struct Pipe {
  FileDescriptor reading;
  FileDescriptor writing;
};

Pipe make_pipe() {
  int ends[2];
  if (pipe2(ends, O_CLOEXEC) != 0) {
    throw InternalError("cannot start a rank: pipe2: " + errno_text(errno) +
                        "; raise the limit of open files (ulimit -n)");
  }
  return {FileDescriptor(ends[0]), FileDescriptor(ends[1])};
}

std::vector<char*> pointers(const std::vector<std::string>& words) {
  std::vector<char*> result;
  for (const std::string& word : words) result.push_back(const_cast<char*>(word.c_str()));
  result.push_back(nullptr);
  return result;
}

// Everything the child needs, made before the fork: after it only async-signal-safe calls are
// allowed.
struct ExecImage {
  const char* program;
  std::vector<char*> arguments;
  std::vector<char*> environment;
  std::span<const int> inherited;
  int null_input;
  int output;
  int error;
  int exec_result;
  pid_t parent;
};

[[noreturn]] void report_and_leave(const ExecImage& image) {
  const int error = errno;
  // Nobody is left to hear of a failed write.
  if (write(image.exec_result, &error, sizeof error) < 0) _exit(126);
  _exit(127);
}

[[noreturn]] void become_program(const ExecImage& image) {
  // The parent may have died before prctl: then nothing would ever kill this process.
  if (prctl(PR_SET_PDEATHSIG, SIGKILL) != 0) report_and_leave(image);
  if (getppid() != image.parent) _exit(126);
  // A terminal's Ctrl-C goes to the launcher alone, which tells the ranks in its own way.
  setsid();
  for (int signal = 1; signal < NSIG; ++signal) std::signal(signal, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (dup2(image.null_input, 0) < 0 || dup2(image.output, 1) < 0 || dup2(image.error, 2) < 0) {
    report_and_leave(image);
  }
  for (const int fd : image.inherited) {
    if (fcntl(fd, F_SETFD, 0) != 0) report_and_leave(image);
  }
  execve(image.program, image.arguments.data(), image.environment.data());
  report_and_leave(image);
}

std::string why_not_executable(const std::filesystem::path& path) {
  std::error_code error;
  if (!std::filesystem::exists(path, error)) return "there is no such file";
  if (std::filesystem::is_directory(path, error)) return "it is a directory";
  if (access(path.c_str(), X_OK) != 0) return "it is not executable (chmod +x it)";
  return "";
}

std::string why_exec_failed(const std::filesystem::path& program, int error) {
  const std::string why = why_not_executable(program);  // it may have changed since it was found
  if (!why.empty()) return why;
  switch (error) {
    case ENOEXEC:
      return "it is not a program: neither an ELF file nor a script that starts with #!";
    case ENOENT:
      return "its interpreter (the #! line, or the ELF loader) does not exist";
    case E2BIG:
      return "its arguments and environment are too long";
    default:
      return errno_text(error);
  }
}

}  // namespace

std::filesystem::path find_program(const std::string& name, const std::string& path_variable) {
  if (name.find('/') != std::string::npos) {
    const std::string why = why_not_executable(name);
    if (!why.empty()) {
      throw ConfigError("muster run: expected a program that can be started, found '" + name +
                        "': " + why + "; check the path");
    }
    return name;
  }
  std::istringstream folders(path_variable);
  for (std::string folder; std::getline(folders, folder, ':');) {
    const std::filesystem::path candidate =
        std::filesystem::path(folder.empty() ? "." : folder) / name;
    if (why_not_executable(candidate).empty()) return candidate;
  }
  const bool is_here = why_not_executable("./" + name).empty();
  throw ConfigError(
      "muster run: expected a program in PATH, found no '" + name + "' there; " +
      (is_here ? "did you mean ./" + name + "?" : "write its path, or check the name"));
}

Child start_child(const ChildSpec& spec) {
  Pipe output = make_pipe();
  Pipe error = make_pipe();
  Pipe result = make_pipe();
  FileDescriptor null_input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  if (!null_input.is_open()) throw InternalError("open /dev/null: " + errno_text(errno));
  const ExecImage image{spec.program.c_str(), pointers(spec.arguments), pointers(spec.environment),
                        spec.inherited,       null_input.get(),         output.writing.get(),
                        error.writing.get(),  result.writing.get(),     getpid()};
  const pid_t pid = fork();
  if (pid < 0) {
    throw InternalError("cannot start a rank: fork: " + errno_text(errno) +
                        "; raise the limit of processes (ulimit -u)");
  }
  if (pid == 0) become_program(image);
  fcntl(output.reading.get(), F_SETFL, O_NONBLOCK);
  fcntl(error.reading.get(), F_SETFL, O_NONBLOCK);
  return {pid, std::move(output.reading), std::move(error.reading), std::move(result.reading)};
}

void confirm_started(Child& child, const ChildSpec& spec) {
  int error = 0;
  ssize_t bytes;
  do {
    bytes = read(child.exec_result.get(), &error, sizeof error);
  } while (bytes < 0 && errno == EINTR);
  child.exec_result.reset();
  if (bytes != sizeof error) return;
  throw ConfigError("muster run: expected a program that can be started, found '" +
                    spec.program.string() + "': " + why_exec_failed(spec.program, error));
}

}  // namespace muster::launcher
