// The one file that includes glog.
#include "muster/base/log.h"

#include <glog/logging.h>

#include <mutex>
#include <string>

namespace muster {
namespace {

// Process-wide because glog is: the prefix belongs to the process's one standard error.
struct LogState {
  std::mutex mutex;
  std::string program = "muster";  // glog keeps a pointer to it
  std::string prefix;
  bool initialised = false;
};

LogState& state() {
  static LogState instance;
  return instance;
}

}  // namespace

void init_logging(const std::string& program, const std::string& prefix, LogLevel minimum) {
  LogState& s = state();
  std::lock_guard<std::mutex> lock(s.mutex);
  s.prefix = prefix.empty() ? "" : "[" + prefix + "] ";
  FLAGS_logtostderr = true;
  FLAGS_minloglevel = static_cast<int>(minimum);
  if (s.initialised) return;
  s.program = program;
  google::InitGoogleLogging(s.program.c_str());
  s.initialised = true;
}

void log_line(LogLevel level, const char* file, int line, const std::string& message) {
  std::string prefix;
  {
    LogState& s = state();
    std::lock_guard<std::mutex> lock(s.mutex);
    prefix = s.prefix;
    // Also before init_logging: never into files of glog's own choosing. glog reads the flag
    // without our lock.
    if (!FLAGS_logtostderr) FLAGS_logtostderr = true;
  }
  google::LogMessage(file, line, static_cast<google::LogSeverity>(level)).stream()
      << prefix << message;
}

}  // namespace muster
