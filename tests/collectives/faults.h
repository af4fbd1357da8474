// What tests of failing ranks have in common.
#ifndef MUSTER_TESTS_COLLECTIVES_FAULTS_H_
#define MUSTER_TESTS_COLLECTIVES_FAULTS_H_

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/mman.h>

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "collectives/every_operation.h"
#include "collectives/rank_processes.h"

namespace muster::testing {

/// How late it may be told what is known at once. Some milliseconds on a machine with nothing else
/// to do; under a sanitizer everything goes slowly. And for how long a rank may be silent.
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
inline constexpr std::chrono::milliseconds kAtOnce{10000};
inline constexpr std::chrono::milliseconds kPatience{5000};
#else
inline constexpr std::chrono::milliseconds kAtOnce{1000};
inline constexpr std::chrono::milliseconds kPatience{300};
#endif

/// A number that all ranks see.
class SharedNumber {
 public:
  SharedNumber()
      : number_(static_cast<std::atomic<std::int64_t>*>(
            mmap(nullptr, sizeof(std::atomic<std::int64_t>), PROT_READ | PROT_WRITE,
                 MAP_SHARED | MAP_ANONYMOUS, -1, 0))) {}
  ~SharedNumber() { munmap(number_, sizeof(*number_)); }
  SharedNumber(const SharedNumber&) = delete;
  SharedNumber& operator=(const SharedNumber&) = delete;
  std::atomic<std::int64_t>& operator*() { return *number_; }

 private:
  std::atomic<std::int64_t>* number_;
};

inline std::int64_t now_ns() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

inline std::chrono::milliseconds since(std::int64_t ns) {
  return std::chrono::milliseconds((now_ns() - ns) / 1000000);
}

/// The message of the Expected that `act` throws.
template <typename Expected>
std::string error_of(int rank, const std::function<void()>& act) {
  try {
    act();
  } catch (const Expected& error) {
    return error.what();
  }
  ADD_FAILURE() << "rank " << rank << " saw no error";
  return "";
}

/// Answers a peer's stream of `operation` for so long; one more is under way then.
inline void answer_for(std::chrono::microseconds duration, const AnyOperation& operation,
                       Communicator& communicator, const Call& call) {
  const AnyOperation answer = answer_to(operation);
  const auto end = std::chrono::steady_clock::now() + duration;
  for (Work work = answer.start(communicator, call); std::chrono::steady_clock::now() < end;) {
    if (work.done()) work = answer.start(communicator, call);
  }
}

inline void expect_survivors_well(const std::vector<RankEnd>& ends, int victim) {
  for (int rank = 0; rank < static_cast<int>(ends.size()); ++rank) {
    const RankEnd& end = ends[static_cast<std::size_t>(rank)];
    if (rank == victim) {
      EXPECT_EQ(end.signal, SIGKILL);
    } else {
      EXPECT_TRUE(end.exited_well) << "rank " << rank << ", signal " << end.signal;
    }
  }
}

/// An operation in one of the ways that shared memory has for it: all data in one small slot;
/// chunk by chunk through the staging area; straight between symmetric tensors.
struct Way {
  AnyOperation operation;
  Call call;
  std::string title;
};

inline std::vector<Way> every_operation_in_every_way() {
  constexpr std::int64_t kLarge = 1000000;  // several chunks
  std::vector<Way> all;
  for (const AnyOperation& operation : every_operation()) {
    all.push_back({operation, Call{}, operation.title() + ", small"});
    if (!operation.has_data()) continue;
    all.push_back({operation, Call{.numel = kLarge}, operation.title() + ", staged"});
    all.push_back({operation, Call{.memory = Memory::kSymmetric, .numel = kLarge},
                   operation.title() + ", direct"});
  }
  return all;
}

}  // namespace muster::testing

#endif  // MUSTER_TESTS_COLLECTIVES_FAULTS_H_
