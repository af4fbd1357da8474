// Logging to standard error with rank and generation. glog does the work, in log.cc alone, since
// LibTorch defines its macros too.
#ifndef MUSTER_BASE_LOG_H_
#define MUSTER_BASE_LOG_H_

#include <sstream>
#include <string>

namespace muster {

enum class LogLevel { INFO = 0, WARNING = 1, ERROR = 2 };

/// Sets the prefix of every later line: "[rank 1/4 gen 2]". Call once, before threads start.
/// Lines below `minimum` are dropped.
void init_logging(const std::string& program, const std::string& prefix,
                  LogLevel minimum = LogLevel::INFO);

/// Writes one line. Any thread; lines do not interleave.
void log_line(LogLevel level, const char* file, int line, const std::string& message);

namespace internal {

class LogStatement {
 public:
  LogStatement(LogLevel level, const char* file, int line)
      : level_(level), file_(file), line_(line) {}
  LogStatement(const LogStatement&) = delete;
  LogStatement& operator=(const LogStatement&) = delete;
  ~LogStatement() { log_line(level_, file_, line_, message_.str()); }

  template <typename T>
  LogStatement& operator<<(const T& value) {
    message_ << value;
    return *this;
  }

 private:
  LogLevel level_;
  const char* file_;
  int line_;
  std::ostringstream message_;
};

}  // namespace internal
}  // namespace muster

/// MUSTER_LOG(INFO) << "step " << step;
#define MUSTER_LOG(level) \
  ::muster::internal::LogStatement(::muster::LogLevel::level, __FILE__, __LINE__)

#endif  // MUSTER_BASE_LOG_H_
