// Two network namespaces that pass for two hosts: their own names, addresses and loopback, and a
// cable between them. They go with the process that made them, however it ends.
#ifndef MUSTER_TESTS_END_TO_END_TWO_HOSTS_H_
#define MUSTER_TESTS_END_TO_END_TWO_HOSTS_H_

#include <sys/types.h>

#include <map>
#include <string>
#include <vector>

#include "subprocess.h"

namespace muster::testing {

class TwoHosts {
 public:
  /// Why there can be none on this machine; empty: there can.
  static std::string missing();

  /// Fails the test when a step does not work.
  TwoHosts();
  ~TwoHosts();
  TwoHosts(const TwoHosts&) = delete;
  TwoHosts& operator=(const TwoHosts&) = delete;

  static const char* name(int host) { return host == 0 ? "muster-host-a" : "muster-host-b"; }
  /// `words`, run on that host; its working directory is /.
  std::vector<std::string> on(int host, const std::vector<std::string>& words) const;
  /// What mpirun, of Open MPI 4 or 5, needs to reach both over the cable.
  std::map<std::string, std::string> environment() const;
  /// A shell command on the first host, with this build's programs and its mpirun in PATH. What it
  /// leaves running on either host is ended.
  ProgramResult run(const std::string& command) const;
  /// "--host ... --map-by ...": so many ranks on each.
  static std::string mpirun_words(int ranks_of_each);
  /// The same for unlike hosts: the first ranks on the first, the others on the second.
  static std::string mpirun_words(int ranks_of_first, int ranks_of_second);
  /// What the host sends goes no faster any more. False where this machine has no tc.
  bool slow_down(int host, int megabits_per_second) const;

 private:
  /// Runs a shell command; fails the test when it fails.
  void shell(const std::string& command) const;

  ScratchDirectory scratch_;
  pid_t holders_[2] = {-1, -1};
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TWO_HOSTS_H_
