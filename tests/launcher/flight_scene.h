// Flight records made up by a test, on a clock of seconds.
#ifndef MUSTER_TESTS_LAUNCHER_FLIGHT_SCENE_H_
#define MUSTER_TESTS_LAUNCHER_FLIGHT_SCENE_H_

#include <string>
#include <vector>

#include "flight/evidence.h"

namespace muster::launcher::testing {

inline constexpr std::int64_t kSecond = 1'000'000'000;

/// A call, as FlightOperation keeps it.
struct Call {
  std::string operation = "barrier";
  std::string dtype;
  std::int64_t elements = 0;
  std::string combine;
  FlightPeer peer_role = FlightPeer::kNone;
  int peer = -1;
};

inline const Call kBarrier{};
inline const Call kLeave{"leave", "", 0, "", FlightPeer::kNone, -1};
inline const Call kSum{"all_reduce", "Float", 64, "sum", FlightPeer::kNone, -1};

/// Ranks 0 .. world_size-1 of one job, of which each has process 100 + rank. Times in seconds.
class Scene {
 public:
  explicit Scene(int world_size) : world_size_(world_size) {
    for (int rank = 0; rank < world_size; ++rank) {
      RankEvidence evidence;
      evidence.log.rank = rank;
      evidence.log.world_size = world_size;
      evidence.log.process.pid = 100 + rank;
      evidence.log.communicators = {{0, rank, world_size, "world"}};
      evidence.process = ProcessState::kRunning;
      ranks_.push_back(evidence);
    }
  }

  RankEvidence& rank(int number) { return ranks_[static_cast<std::size_t>(number)]; }

  void ended(int number, std::uint64_t sequence, const Call& call, double start, double end,
             std::uint32_t communicator = 0) {
    add(number, sequence, call, FlightState::kEnded, start, end, communicator);
  }
  void in(int number, std::uint64_t sequence, const Call& call, double start,
          std::uint32_t communicator = 0) {
    add(number, sequence, call, FlightState::kStarted, start, 0, communicator);
  }
  void gave_up(int number, std::uint64_t sequence, const Call& call, double start, double end,
               std::uint32_t communicator = 0) {
    add(number, sequence, call, FlightState::kFailed, start, end, communicator);
  }
  void queued(int number, std::uint64_t sequence, const Call& call,
              std::uint32_t communicator = 0) {
    add(number, sequence, call, FlightState::kQueued, 0, 0, communicator);
  }
  void has_left(int number, FlightEnd end, double time) {
    rank(number).log.end = end;
    rank(number).log.end_ns = ns(time);
    rank(number).process = ProcessState::kGone;
  }
  void all_gone() {
    for (RankEvidence& one : ranks_) one.process = ProcessState::kGone;
  }
  void lose_record(int number) { lost_.push_back(number); }

  FlightEvidence evidence(double now) const {
    FlightEvidence evidence;
    evidence.world_size = world_size_;
    evidence.now_ns = ns(now);
    for (const RankEvidence& one : ranks_) {
      bool lost = false;
      for (const int number : lost_) lost = lost || number == one.log.rank;
      if (!lost) evidence.ranks.push_back(one);
    }
    return evidence;
  }

  static std::int64_t ns(double seconds) { return static_cast<std::int64_t>(seconds * 1e9 + 0.5); }

 private:
  void add(int number, std::uint64_t sequence, const Call& call, FlightState state, double start,
           double end, std::uint32_t communicator) {
    FlightOperation operation;
    operation.communicator = communicator;
    operation.sequence = sequence;
    operation.state = state;
    operation.operation = call.operation;
    operation.dtype = call.dtype;
    operation.combine = call.combine;
    operation.elements = call.elements;
    operation.peer_role = call.peer_role;
    operation.peer = call.peer;
    operation.queued_ns = start == 0 ? 1 : ns(start);
    operation.started_ns = ns(start);
    operation.ended_ns = ns(end);
    rank(number).log.operations.push_back(operation);
  }

  int world_size_;
  std::vector<RankEvidence> ranks_;
  std::vector<int> lost_;
};

}  // namespace muster::launcher::testing

#endif  // MUSTER_TESTS_LAUNCHER_FLIGHT_SCENE_H_
