// Who came, who waits, who did not come, who called something else.
#include "flight/findings.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <set>

#include "flight/absence.h"
#include "flight/flight_words.h"

namespace muster::launcher {
namespace {

/// How the ranks that came to one operation fared.
class Attendance {
 public:
  explicit Attendance(const FlightEvidence& evidence) : evidence_(evidence) {}

  void add(const RankEvidence& rank, const FlightOperation& operation) {
    const int number = rank.log.rank;
    if (gave_up(operation)) {
      finding.failed.push_back(number);
      failed_ns_ = std::max(failed_ns_, operation.ended_ns - operation.started_ns);
    } else if (is_in_flight(operation)) {
      const bool stands =
          rank.process == ProcessState::kStopped || rank.process == ProcessState::kGone;
      (stands ? finding.ended_inside : finding.waiting).push_back(number);
      if (rank.process == ProcessState::kStopped) stopped_.push_back(number);
      waited_ns_ = std::max(waited_ns_, evidence_.now_ns - operation.started_ns);
    } else {
      ended_.push_back(number);
    }
    finding.waited_ns = std::max(waited_ns_, failed_ns_);
  }

  /// "ranks 0, 1 wait since 12.3 s; rank 2 gave up after 5.0 s".
  std::string text() const {
    std::string text;
    const auto add = [&](const std::string& clause) {
      text += (text.empty() ? "" : "; ") + clause;
    };
    const std::string waited = duration_text(waited_ns_);
    if (!finding.waiting.empty()) {
      const bool one = finding.waiting.size() == 1;
      add(named_ranks(finding.waiting) +
          (evidence_.is_live()
               ? (one ? " waits since " : " wait since ") + waited
               : (one ? " was" : " were") + std::string(" in it at the last record")));
    }
    if (!finding.failed.empty()) {
      add(named_ranks(finding.failed) + " gave up after " + duration_text(failed_ns_));
    }
    if (!stopped_.empty()) {
      add(named_ranks(stopped_) +
          (stopped_.size() == 1 ? " is stopped in it" : " are stopped in it"));
    }
    std::vector<int> gone;
    std::set_difference(finding.ended_inside.begin(), finding.ended_inside.end(), stopped_.begin(),
                        stopped_.end(), std::back_inserter(gone));
    if (!gone.empty()) {
      add(named_ranks(gone) + (gone.size() == 1 ? " was in it when its process ended"
                                                : " were in it when their processes ended"));
    }
    if (!ended_.empty() && finding.absent.empty()) add(named_ranks(ended_) + " ended it");
    return text;
  }

  Finding finding;

 private:
  const FlightEvidence& evidence_;
  std::vector<int> ended_;
  std::vector<int> stopped_;
  std::int64_t waited_ns_ = 0;
  std::int64_t failed_ns_ = 0;
};

/// What most ranks called; of several, what the lowest rank did.
std::string majority_call(const std::map<int, const FlightOperation*>& came) {
  std::map<std::string, int> counts;
  for (const auto& [rank, operation] : came) ++counts[operation->description()];
  std::string best;
  for (const auto& [rank, operation] : came) {
    const std::string call = operation->description();
    if (best.empty() || counts[call] > counts[best]) best = call;
  }
  return best;
}

class GroupFinder {
 public:
  GroupFinder(const FlightEvidence& evidence, const std::vector<Group>& groups, std::size_t index)
      : evidence_(evidence), groups_(groups), index_(index), group_(groups[index]) {}

  std::optional<Finding> collective() const {
    std::set<std::uint64_t> blocked;
    for (const auto& [rank, member] : group_.members) {
      for (const auto& [sequence, operation] : member.collectives) {
        if (is_in_flight(*operation) || gave_up(*operation)) blocked.insert(sequence);
      }
    }
    for (const std::uint64_t sequence : blocked) {
      const Finding finding = look_at(sequence);
      if (!finding.absent.empty() || !finding.disagreeing.empty()) return finding;
    }
    if (blocked.empty()) return std::nullopt;
    return look_at(*blocked.begin());
  }

  std::vector<Finding> transfers() const {
    std::vector<Finding> findings;
    for (const auto& [rank, member] : group_.members) {
      for (const FlightOperation* transfer : member.transfers) {
        if (!is_in_flight(*transfer) && !gave_up(*transfer)) continue;
        const auto finding = look_at(rank, member, *transfer);
        if (finding) findings.push_back(*finding);
      }
    }
    return findings;
  }

 private:
  Finding look_at(std::uint64_t sequence) const {
    Attendance attendance(evidence_);
    Finding& finding = attendance.finding;
    finding.communicator = group_.name;
    finding.sequence = sequence;
    std::map<int, const FlightOperation*> came;
    for (const int rank : group_.known_ranks()) {
      const auto member = group_.members.find(rank);
      const FlightOperation* const operation =
          member == group_.members.end() ? nullptr : member->second.at(sequence);
      if (operation != nullptr && operation->started_ns != 0) {
        came[rank] = operation;
      } else if (member == group_.members.end() || !member->second.has_passed(sequence)) {
        finding.absent.push_back(rank);
      }
    }
    finding.operation = majority_call(came);
    std::string others;
    for (const auto& [rank, operation] : came) {
      if (operation->description() == finding.operation) {
        attendance.add(*group_.members.at(rank).rank, *operation);
        continue;
      }
      finding.disagreeing.push_back(rank);
      others += "; rank " + std::to_string(rank) + " called " + operation->description();
    }
    const int unknown =
        group_.is_world() ? 0 : group_.size - static_cast<int>(group_.members.size());
    finding.sentence = "operation " + std::to_string(sequence) + " " + finding.operation +
                       (group_.is_world() ? "" : " of communicator " + group_.name) + ": " +
                       attendance.text() + others;
    if (!finding.absent.empty()) {
      finding.sentence += "; " + absence_text(evidence_, groups_, index_, finding.absent);
    }
    if (!group_.is_listed()) finding.sentence += "; who else is in it was not recorded";
    if (unknown > 0) {
      finding.sentence += "; " + std::to_string(unknown) +
                          (unknown == 1 ? " rank of it has" : " ranks of it have") + " no record";
    }
    return finding;
  }

  std::optional<Finding> look_at(int rank, const GroupMember& member,
                                 const FlightOperation& transfer) const {
    const bool knows_peer =
        transfer.peer >= 0 && static_cast<std::size_t>(transfer.peer) < group_.world_ranks.size();
    const int peer = knows_peer ? group_.world_ranks[static_cast<std::size_t>(transfer.peer)] : -1;
    const RankEvidence* const peer_evidence = evidence_of(peer);
    const FlightOperation* const other = counterpart(rank, peer, transfer);
    // The sender tells it for both.
    if (other != nullptr && transfer.peer_role == FlightPeer::kFrom) return std::nullopt;
    Attendance attendance(evidence_);
    attendance.finding.communicator = group_.name;
    attendance.finding.sequence = transfer.sequence;
    attendance.finding.operation = transfer.description();
    attendance.add(*member.rank, transfer);
    if (other != nullptr) {
      attendance.add(*peer_evidence, *other);
    } else if (peer >= 0) {
      attendance.finding.absent.push_back(peer);
    }
    Finding finding = attendance.finding;
    finding.sentence = operation_text(group_, transfer) + ": " + attendance.text();
    if (!group_.is_listed()) finding.sentence += "; who else is in it was not recorded";
    if (!finding.absent.empty()) {
      finding.sentence += "; " + absence_text(evidence_, groups_, index_, finding.absent);
    }
    return finding;
  }

  const RankEvidence* evidence_of(int rank) const {
    const auto member = group_.members.find(rank);
    return member == group_.members.end() ? nullptr : member->second.rank;
  }

  /// The other side's part of a transfer, when it has come to it.
  const FlightOperation* counterpart(int rank, int peer, const FlightOperation& transfer) const {
    const auto member = group_.members.find(peer);
    if (member == group_.members.end()) return nullptr;
    for (const FlightOperation* theirs : member->second.transfers) {
      const bool unfinished = is_in_flight(*theirs) || gave_up(*theirs);
      if (!unfinished || theirs->peer_role == transfer.peer_role || theirs->peer < 0) continue;
      const auto their_peer = static_cast<std::size_t>(theirs->peer);
      if (their_peer < group_.world_ranks.size() && group_.world_ranks[their_peer] == rank) {
        return theirs;
      }
    }
    return nullptr;
  }

  const FlightEvidence& evidence_;
  const std::vector<Group>& groups_;
  std::size_t index_;
  const Group& group_;
};

}  // namespace

std::vector<Finding> find_blocked(const FlightEvidence& evidence,
                                  const std::vector<Group>& groups) {
  std::vector<Finding> findings;
  for (std::size_t i = 0; i < groups.size(); ++i) {
    const GroupFinder finder(evidence, groups, i);
    if (const auto finding = finder.collective()) findings.push_back(*finding);
    for (const Finding& finding : finder.transfers()) findings.push_back(finding);
  }
  return findings;
}

}  // namespace muster::launcher
