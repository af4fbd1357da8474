// Whose an object is after fork().
#ifndef MUSTER_COLLECTIVES_SRC_OWNER_PROCESS_H_
#define MUSTER_COLLECTIVES_SRC_OWNER_PROCESS_H_

#include <unistd.h>

namespace muster::internal {

/// The process that made the object. A child that it forked has a copy, without the threads: what
/// the copy told other ranks would be said in the owner's name.
class OwnerProcess {
 public:
  bool is_this() const { return getpid() == pid_; }

 private:
  pid_t pid_ = getpid();
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_OWNER_PROCESS_H_
