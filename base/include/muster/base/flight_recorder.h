// A rank's last operations, written where they outlive the process.
#ifndef MUSTER_BASE_FLIGHT_RECORDER_H_
#define MUSTER_BASE_FLIGHT_RECORDER_H_

#include <chrono>
#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <mutex>
#include <optional>
#include <string_view>
#include <utility>

#include "muster/base/flight_format.h"
#include "muster/base/rank_env.h"

namespace muster {

/// What a rank was asked to do. Texts that are too long for their fields are cut.
struct FlightCall {
  std::string_view operation;
  std::string_view dtype;
  std::string_view combine;
  std::int64_t elements = 0;
  std::int64_t bytes = 0;
  FlightPeer peer_role = FlightPeer::kNone;
  std::int32_t peer = -1;
};

/// One operation's record, from its issue to its end; empty when it is not recorded. Valid as long
/// as the FlightLane that gave it. By one thread at a time.
class FlightEntry {
 public:
  using Time = std::chrono::steady_clock::time_point;

  FlightEntry() = default;
  /// The rank has come to the operation, at `now`.
  void started(Time now) const;
  void ended() const { finish(FlightState::kEnded); }
  void failed() const { finish(FlightState::kFailed); }

 private:
  friend class FlightLane;
  explicit FlightEntry(FlightRecord* record) : record_(record) {}
  void finish(FlightState state) const;

  FlightRecord* record_ = nullptr;
};

class FlightRecorder;

/// What one communicator writes to; an empty one records nothing. Copies share.
class FlightLane {
 public:
  FlightLane() = default;
  /// `sequence` is equal on all ranks for one operation of all ranks, and counts these alone; for
  /// one that concerns two ranks it may be any number. Any thread; never blocks and makes no system
  /// call.
  FlightEntry queued(std::uint64_t sequence, const FlightCall& call) const;

  /// The lane of a communicator that is a part of this one's, as FlightRecorder::add_communicator()
  /// makes it; empty when this is.
  FlightLane of_part(std::string_view name, int rank, int size) const;

 private:
  friend class FlightRecorder;
  FlightLane(std::shared_ptr<FlightRecorder> recorder, std::uint32_t communicator,
             std::shared_ptr<void> place)
      : recorder_(std::move(recorder)), communicator_(communicator), place_(std::move(place)) {}

  std::shared_ptr<FlightRecorder> recorder_;
  std::uint32_t communicator_ = 0;
  std::shared_ptr<void> place_;  // gives the communicator's entry back; null where it has none
};

/// A mapped file of fixed size. The page cache keeps it when the process is killed; it can be read
/// at any time, also while the rank hangs (flight_log.h). Each record is a sequence lock, so that a
/// reader knows a record that was being written. The record of an operation that has not ended is
/// not reused, however many follow on other communicators.
class FlightRecorder : public std::enable_shared_from_this<FlightRecorder> {
 public:
  /// Makes env.flight_directory and in it flight-rank-R.bin, in place of any of that name. All of
  /// its disk space is taken now. Throws FileError.
  static std::shared_ptr<FlightRecorder> create(const RankEnv& env);
  ~FlightRecorder();
  FlightRecorder(const FlightRecorder&) = delete;
  FlightRecorder& operator=(const FlightRecorder&) = delete;

  /// The lane of a further communicator; the first is the world. `name` is the same on all its
  /// ranks and no other communicator's; `rank` and `size` are within it. Once there are more than
  /// the file has entries for, one gets the entry of a communicator whose lanes are gone; where
  /// there is no such it has none. Any thread.
  FlightLane add_communicator(std::string_view name, int rank, int size);

  /// How the rank's membership ended; kOpen until this is called.
  void end(FlightEnd how) noexcept;

 private:
  friend class FlightLane;
  explicit FlightRecorder(std::byte* memory) : memory_(memory) {}

  FlightHeader& header() const { return *reinterpret_cast<FlightHeader*>(memory_); }
  FlightRecord& record(std::uint64_t index) const;
  /// Of an entry that is free. Under the mutex.
  std::optional<std::uint32_t> take_place();
  std::shared_ptr<void> hold(std::uint32_t place);
  /// A record that nobody uses, its version odd; null when all that were looked at are in use.
  FlightRecord* claim();

  std::byte* memory_;
  std::mutex communicators_mutex_;
  std::uint32_t next_communicator_ = 0;
  std::deque<std::uint32_t> left_places_;  // the one that was left first at the head
};

}  // namespace muster

#endif  // MUSTER_BASE_FLIGHT_RECORDER_H_
