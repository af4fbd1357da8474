// A rank does not outlive the process that started it.
#ifndef MUSTER_COLLECTIVES_SRC_PARENT_WATCH_H_
#define MUSTER_COLLECTIVES_SRC_PARENT_WATCH_H_

#include <sys/types.h>

#include <condition_variable>
#include <mutex>
#include <thread>

namespace muster::internal {

/// Kills this process within a second of its parent's end, whatever it is doing: for ranks of
/// mpirun, whose daemon takes nobody along when it dies. It looks at getppid() now and then:
/// PR_SET_PDEATHSIG would strike when the *thread* that started the rank ends, and Open MPI's
/// daemon may start ranks from threads that it ends soon after.
class ParentWatch {
 public:
  ParentWatch();
  ~ParentWatch();
  ParentWatch(const ParentWatch&) = delete;
  ParentWatch& operator=(const ParentWatch&) = delete;

 private:
  void watch();

  const pid_t parent_;
  std::mutex mutex_;
  std::condition_variable ended_;
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_PARENT_WATCH_H_
