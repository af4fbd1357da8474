// The last operations over all ranks, and which ranks come late. Pure.
#ifndef MUSTER_LAUNCHER_FLIGHT_TIMELINE_H_
#define MUSTER_LAUNCHER_FLIGHT_TIMELINE_H_

#include <cstdint>
#include <string>
#include <vector>

#include "flight/operation_index.h"

namespace muster::launcher {

/// One operation of all ranks of a communicator, or one of two ranks as one of them saw it.
struct TimelineRow {
  std::string communicator;
  bool is_collective = true;
  std::uint64_t sequence = 0;
  std::string operation;  ///< As the first rank that came called it.
  std::int64_t bytes = 0;
  std::vector<int> came;     ///< Ranks of the world.
  std::vector<int> waiting;  ///< Came, and have not left it.
  std::vector<int> failed;
  std::int64_t first_start_ns = 0;
  std::int64_t skew_ns = 0;  ///< From the first rank's start to the last's.
  int last_rank = -1;        ///< That came last.
  std::int64_t late_ns = 0;  ///< How long after the one before it.
  std::int64_t took_ns = 0;  ///< From the last start to the last end; 0 while one has not ended.
  bool is_whole = false;     ///< Every rank's start is known, and there are several.
};

/// All operations that some rank has begun, the oldest first.
std::vector<TimelineRow> make_timeline(const std::vector<Group>& groups);

/// How often a rank was the last to come, and by how much: the time that an operation could have
/// begun earlier if this rank alone had been quicker.
struct Lateness {
  int rank = 0;
  std::int64_t operations = 0;  ///< Whose every start is known.
  std::int64_t times_last = 0;
  std::int64_t median_ns = 0;  ///< Over the times it was last.
  std::int64_t most_ns = 0;
  std::int64_t total_ns = 0;
};

/// By rank; ranks that took part in no whole row are left out.
std::vector<Lateness> measure_lateness(const std::vector<TimelineRow>& rows);

/// "rank 2 came last in 90 of 100 operations and held the others up for 1.2 s of 4.0 s", for ranks
/// that were last at least twice as often as chance would have it and cost a twentieth of the time.
std::vector<std::string> name_stragglers(const std::vector<TimelineRow>& rows,
                                         const std::vector<Lateness>& lateness);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_TIMELINE_H_
