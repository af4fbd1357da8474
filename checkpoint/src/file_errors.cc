// Advice by errno.
#include "file_errors.h"

#include <cerrno>

namespace muster::checkpoint {

bool means_damage(const FileError& error) {
  switch (error.errno_value()) {
    case ENOENT:
    case ENOTDIR:
    case EISDIR:
    case EIO:
      return true;
    default:
      return false;
  }
}

namespace internal {
namespace {

const char* advice_for(int errno_value) {
  switch (errno_value) {
    case ENOSPC:
    case EDQUOT:
    case EFBIG:
      return "free space there or keep fewer checkpoints; those before this one are untouched";
    case EACCES:
    case EPERM:
    case EROFS:
      return "make it accessible to this user or choose another checkpoint directory";
    case ENOENT:
    case ENOTDIR:
    case EEXIST:
    case EISDIR:
    case ELOOP:
    case ENAMETOOLONG:
      return "check the path, or choose another checkpoint directory";
    case EMFILE:
    case ENFILE:
      return "raise the limit on open files (ulimit -n)";
    case EHOSTUNREACH:
      return "check the connection to the store, AWS_ENDPOINT_URL and the credentials";
    default:
      return "check the disk and the system log";
  }
}

}  // namespace

std::string describe_file_error(const std::string& doing, const FileError& error) {
  return doing + ": " + error.what() + "; " + advice_for(error.errno_value());
}

}  // namespace internal
}  // namespace muster::checkpoint
