// What was measured, against what the same run says is possible.
#include <algorithm>

#include "doctor/judges.h"
#include "doctor/quantities.h"

namespace muster::launcher::doctor {
namespace {

// A rank that has less than this of a core shares it.
constexpr double kWholeCore = 0.8;
// Of the others' median: what one rank of a machine may lack without a reason.
constexpr double kSlowRank = 0.6;
// Of the speed of copying, which is the bound (doctor/measure.cc).
constexpr double kGoodInNode = 0.5;
// Of the interface's speed: what TCP reaches without care.
constexpr double kGoodBetweenNodes = 0.5;
constexpr double kSlowStart = 100e-6;  // of an all-reduce of 1 KiB in a node

const RankMeasurement& least_served(const Measurement& m) {
  return *std::min_element(
      m.ranks.begin(), m.ranks.end(),
      [](const RankMeasurement& a, const RankMeasurement& b) { return a.cpu_share < b.cpu_share; });
}

void judge_sharing(const Measurement& m, const std::string& how, Verdicts& verdicts) {
  const RankMeasurement& least = least_served(m);
  if (least.cpu_share < kWholeCore) {
    verdicts.warning("measured.shared_cores",
                     how + "rank " + std::to_string(least.rank) + " on " + least.host + " got " +
                         percent_text(least.cpu_share) + " of a core while all ranks computed",
                     "others use the cores, or there are more ranks than cores; all ranks wait for "
                     "the one that gets least",
                     "start fewer ranks, look with top for others, or bind ranks to cores of their "
                     "own");
  }
  if (m.throttled_periods > 0) {
    verdicts.warning("measured.throttled",
                     how + "the control group's quota stopped the ranks " +
                         count_text(m.throttled_periods, "time"),
                     "a rank that is stopped for the rest of a 100 ms period holds up all others",
                     "start fewer ranks or threads, or raise the quota (docker --cpus)");
  }
  if (m.stolen_share > 0.05) {
    verdicts.warning(
        "measured.stolen",
        how + "the hypervisor took " + percent_text(m.stolen_share) + " of the cores' time",
        "other virtual machines use the same cores", "ask for dedicated cores, or another machine");
  }
}

void judge_slow_ranks(const Measurement& m, const std::string& how, Verdicts& verdicts) {
  const double usual = m.copy_together_bytes_per_second();
  for (const RankMeasurement& rank : m.ranks) {
    // A rank without a core of its own was named above.
    if (rank.cpu_share < kWholeCore || rank.copy_bytes_per_second >= kSlowRank * usual) continue;
    verdicts.warning("measured.slow_rank",
                     how + "rank " + std::to_string(rank.rank) + " on " + rank.host +
                         " copies memory at " + speed_text(rank.copy_bytes_per_second) +
                         ", the others at " + speed_text(usual),
                     "all ranks wait for the slowest",
                     "look at its memory modules, its clock and its neighbours; leave it out");
  }
}

/// What each node sends, and gets as well: 2 (N - 1) / N of the buffer, as nccl-tests derives its
/// bus bandwidth (doc/PERFORMANCE.md there).
double link_bytes_per_second(const AllReduceTime& one, int nodes) {
  return static_cast<double>(one.bytes) / one.best_seconds * 2 * (nodes - 1) / nodes;
}

std::string speeds(const AllReduceTime& largest) {
  return bytes_text(largest.bytes) + " in " + time_text(largest.best_seconds) + ", " +
         speed_text(static_cast<double>(largest.bytes) / largest.best_seconds);
}

/// What a slow operation waits for; ranks without a core each wait for one first of all.
std::string waits_for(const Measurement& m, const std::string& otherwise) {
  return least_served(m).cpu_share < kWholeCore
             ? "ranks that share cores wait for a core, whatever else is slow"
             : otherwise;
}

void judge_node(const Measurement& m, const std::string& how, Verdicts& verdicts) {
  const AllReduceTime& largest = m.all_reduce.back();
  const double bound = m.copy_together_bytes_per_second();
  const double share =
      static_cast<double>(largest.bytes) / largest.best_seconds / std::max(1.0, bound);
  const std::string found = how + "all-reduce in the node over " + m.transport + ": " +
                            speeds(largest) + ", " + percent_text(std::min(1.0, share)) +
                            " of what copying memory allows (" + speed_text(bound) + " a rank)";
  if (share < kGoodInNode) {
    verdicts.warning("measured.all_reduce", found,
                     waits_for(m, "the ranks wait for each other more than they work"),
                     "give each rank a core of its own, on one NUMA node if they fit, and measure "
                     "again on a quiet machine");
  } else {
    verdicts.ok("measured.all_reduce", found);
  }
  const AllReduceTime& smallest = m.all_reduce.front();
  if (smallest.seconds > kSlowStart) {
    verdicts.note("measured.latency",
                  how + "an all-reduce of " + bytes_text(smallest.bytes) + " takes " +
                      time_text(smallest.seconds),
                  "ranks that have a core each need some microseconds; norms, losses and flags are "
                  "such small sums");
  }
}

double fastest_interface(const NetworkFacts& network) {
  std::int64_t megabits = 0;
  for (const NetworkInterface& one : network.interfaces) {
    if (one.up && !one.loopback) megabits = std::max(megabits, one.megabits_per_second);
  }
  return static_cast<double>(megabits) * 1e6 / 8;
}

void judge_links(const Measurement& m, const NetworkFacts& network, Verdicts& verdicts) {
  const AllReduceTime& largest = m.all_reduce.back();
  const double speed = link_bytes_per_second(largest, m.hosts());
  const double interface = fastest_interface(network);
  const std::string found = "all-reduce between " + count_text(m.hosts(), "node") + " over " +
                            m.transport + ": " + speeds(largest) + "; each node sends " +
                            speed_text(speed);
  if (interface > 0 && speed < kGoodBetweenNodes * interface) {
    verdicts.warning(
        "measured.link", found + " where its fastest interface has " + speed_text(interface),
        waits_for(m, "the step waits for the network"),
        "see which interface is used (mpirun --mca btl_base_verbose 30), name the fast "
        "one with --mca btl_tcp_if_include, look for other traffic");
  } else {
    verdicts.ok("measured.link", found);
  }
  if (m.broadcasts.size() < 2) return;
  const auto slower = [](const HostSpeed& a, const HostSpeed& b) {
    return a.bytes_per_second < b.bytes_per_second;
  };
  const auto [worst, best] = std::minmax_element(m.broadcasts.begin(), m.broadcasts.end(), slower);
  if (worst->bytes_per_second >= kSlowRank * best->bytes_per_second) return;
  verdicts.warning("measured.slow_host",
                   worst->host + " sends at " + speed_text(worst->bytes_per_second) + ", " +
                       best->host + " at " + speed_text(best->bytes_per_second),
                   "all nodes wait for the slowest link",
                   "look at its cable, its switch port and its interface's speed (ethtool)");
}

/// `how` begins each sentence: empty, or how the ranks were started.
void judge_one(const Measurement& m, const std::string& how, const Facts& facts,
               Verdicts& verdicts) {
  if (!m.error.empty()) {
    verdicts.error("measured.failed", how + m.error, "ranks that cannot measure cannot train",
                   "start muster run -n 2 -- muster-doctor-measure by hand to see all it says");
    return;
  }
  if (m.ranks.empty()) return;
  judge_sharing(m, how, verdicts);
  judge_slow_ranks(m, how, verdicts);
  if (m.all_reduce.empty()) return;
  if (m.hosts() > 1) {
    judge_links(m, facts.network, verdicts);
  } else {
    judge_node(m, how, verdicts);
  }
}

}  // namespace

void judge_measurements(const Facts& facts, Verdicts& verdicts) {
  if (facts.in_node) judge_one(*facts.in_node, "", facts, verdicts);
  if (!facts.over_mpi) return;
  judge_one(*facts.over_mpi, "by mpirun: ", facts, verdicts);
  if (facts.over_mpi->hosts() == 1 && facts.over_mpi->ranks.size() > 1) {
    verdicts.note("measured.one_host",
                  "all " +
                      count_text(static_cast<std::int64_t>(facts.over_mpi->ranks.size()), "rank") +
                      " of mpirun were on one node",
                  "nothing was measured between nodes; where more ranks than cores are allowed (as "
                  "scripts/env does), mpirun fills the first node",
                  "say how many each node gets: --mpirun \"--map-by ppr:2:node --host a,b\"");
  }
}

}  // namespace muster::launcher::doctor
