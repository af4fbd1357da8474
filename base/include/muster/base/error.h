// Errors named by who can act on them; each kind has a documented exit code
// (docs/failure_model.md).
#ifndef MUSTER_BASE_ERROR_H_
#define MUSTER_BASE_ERROR_H_

#include <stdexcept>
#include <string>

namespace muster {

/// Process exit codes. They are the launcher's input and never change meaning.
enum class ExitCode : int {
  kSuccess = 0,
  kUserError = 1,  ///< The user's own code threw.
  kConfigError =
      64,           ///< An option, flag or named path is wrong: the caller of the program can act.
  kDataError = 65,  ///< A data set is damaged: its owner can act.
  kInternalError = 70,    ///< Muster is wrong: its developers can act.
  kCheckpointError = 74,  ///< A checkpoint cannot be written or read: the storage's owner can act.
  kPeerLost = 75,         ///< Another rank died or fell silent: start again.
  kMismatch = 76,         ///< Ranks disagree: operation, shape, options or numerics.
  kPreempted = 79,        ///< A preemption notice was honoured and the state saved.
  kInterrupted = 130,     ///< Ctrl-C was honoured and the state saved.
};

/// Base of every error Muster throws. `what()` says what was expected, what was found and what to
/// do.
class Error : public std::runtime_error {
 public:
  Error(ExitCode exit_code, const char* kind, const std::string& message)
      : std::runtime_error(message), exit_code_(exit_code), kind_(kind) {}

  ExitCode exit_code() const noexcept { return exit_code_; }
  /// The class's name, for messages that cross a process boundary.
  const char* kind() const noexcept { return kind_; }

 private:
  ExitCode exit_code_;
  const char* kind_;  // a string literal
};

#define MUSTER_DEFINE_ERROR(Name, code)                                                  \
  class Name : public Error {                                                            \
   public:                                                                               \
    explicit Name(const std::string& message) : Error(ExitCode::code, #Name, message) {} \
  }

MUSTER_DEFINE_ERROR(UserError, kUserError);
MUSTER_DEFINE_ERROR(ConfigError, kConfigError);
MUSTER_DEFINE_ERROR(DataError, kDataError);
MUSTER_DEFINE_ERROR(InternalError, kInternalError);
MUSTER_DEFINE_ERROR(CheckpointError, kCheckpointError);
MUSTER_DEFINE_ERROR(PeerLost, kPeerLost);
MUSTER_DEFINE_ERROR(Timeout, kPeerLost);
MUSTER_DEFINE_ERROR(Mismatch, kMismatch);

#undef MUSTER_DEFINE_ERROR

/// "System call failed" text for `errno_value`: "No space left on device (ENOSPC)".
std::string errno_text(int errno_value);

}  // namespace muster

#endif  // MUSTER_BASE_ERROR_H_
