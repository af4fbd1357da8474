// Makes the k-th system call on a directory tree fail, in the program that links this: the libc
// functions that enter the kernel with a path or a file are replaced.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_FAILING_CALLS_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_FAILING_CALLS_H_

#include <cstdint>
#include <string>

namespace muster::testing {

struct FailingCall {
  std::int64_t call = 0;  ///< 0 is the first after fail_calls_below().
  /// 0: a write writes half of what it was given; other calls work.
  int errno_value = 0;
  bool from_then_on = false;  ///< And all later ones.
};

/// From now on. Calls on what is below `directory`, or on files opened there, count.
void fail_calls_below(const std::string& directory, const FailingCall& failing_call);

/// Counts alone: for the number of calls that a run makes.
void count_calls_below(const std::string& directory);
std::int64_t calls_counted();

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_FAILING_CALLS_H_
