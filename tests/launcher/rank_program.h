// A rank for tests: does what its arguments say, in order.
#ifndef MUSTER_TESTS_LAUNCHER_RANK_PROGRAM_H_
#define MUSTER_TESTS_LAUNCHER_RANK_PROGRAM_H_

#include <string>
#include <vector>

namespace muster::launcher::testing {

/// The word after the test program's name that makes it such a rank.
inline constexpr const char* kRankProgramFlag = "--rank-program";

/// Words, one after the other:
///   rank=R  gen=G  gen>=G  always      the words after it are only for this rank or generation
///   (both may be given); `always` ends that hello  resumed=S  progress=S/T  checkpoint=S:PATH done
///   failure=CODE:KIND:TEXT     control messages print=TEXT  error=TEXT  bytes=N    output; N bytes
///   of a pattern join  wait-lost  wait-stop=CODE    node memory: join, wait for the generation's
///   end and leave with PeerLost; wait for Stop, leave with CODE orphan  ignore-term  await=FILE
///   touch=FILE  pause  kill segv  exit=CODE
///   ended=NAME  in=NAME  gave-up=NAME    the next operation in the flight record
/// A daemon `orphan` is a grandchild in a session of its own that ignores SIGTERM and sleeps for
/// ever.
int rank_program(const std::vector<std::string>& words);

/// What bytes=N writes.
std::string pattern_bytes(std::size_t count);

}  // namespace muster::launcher::testing

#endif  // MUSTER_TESTS_LAUNCHER_RANK_PROGRAM_H_
