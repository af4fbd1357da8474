// Reasons, alike ones told together.
#include "flight/absence.h"

#include <algorithm>
#include <map>
#include <optional>
#include <tuple>

#include "flight/flight_words.h"

namespace muster::launcher {
namespace {

// A sentence that is too long is not read.
constexpr std::size_t kMostClauses = 6;

enum class Reason {
  kNoRecord,
  kLeftInOrder,
  kLeftByError,
  kStillInside,  ///< An operation that it came to before.
  kLastEnded,
  kLastGaveUp,
  kCalledNothing,
};

/// Ranks with equal keys share a clause.
struct Absence {
  Reason reason = Reason::kNoRecord;
  std::string operation;  ///< The one that `reason` speaks of.
  std::string process;    ///< What has become of it, while others are there.
  std::optional<std::int64_t> since_ns;

  auto key() const { return std::tie(reason, operation, process); }
};

class AbsenceReader {
 public:
  AbsenceReader(const FlightEvidence& evidence, const std::vector<Group>& groups, std::size_t group)
      : evidence_(evidence), groups_(groups), group_(groups[group]) {}

  Absence of(int rank) const {
    const auto member = groups_.front().members.find(rank);
    if (member == groups_.front().members.end()) return {};
    Absence absence = told_by(*member->second.rank);
    absence.process = process_note(*member->second.rank);
    return absence;
  }

 private:
  Absence told_by(const RankEvidence& rank) const {
    const FlightLog& log = rank.log;
    if (log.end == FlightEnd::kLeft) return {Reason::kLeftInOrder, "", "", log.end_ns};
    if (auto inside = still_inside(log.rank)) return *inside;
    const auto member = group_.members.find(log.rank);
    const FlightOperation* const last =
        member == group_.members.end() ? nullptr : member->second.last_begun();
    if (last != nullptr && gave_up(*last)) {
      return {Reason::kLastGaveUp, operation_text(group_, *last), "", last->ended_ns};
    }
    if (log.end == FlightEnd::kFailed) return {Reason::kLeftByError, "", "", log.end_ns};
    if (last == nullptr) return {Reason::kCalledNothing, "", "", std::nullopt};
    return {Reason::kLastEnded, operation_text(group_, *last), "", last->ended_ns};
  }

  /// The operation, of whatever communicator, that the rank has been in for longest.
  std::optional<Absence> still_inside(int rank) const {
    const FlightOperation* inside = nullptr;
    const Group* where = nullptr;
    const auto consider = [&](const Group& group, const FlightOperation* operation) {
      if (!is_in_flight(*operation)) return;
      if (inside != nullptr && inside->started_ns <= operation->started_ns) return;
      inside = operation;
      where = &group;
    };
    for (const Group& group : groups_) {
      const auto member = group.members.find(rank);
      if (member == group.members.end()) continue;
      for (const auto& [sequence, operation] : member->second.collectives) {
        consider(group, operation);
      }
      for (const FlightOperation* transfer : member->second.transfers) consider(group, transfer);
    }
    if (inside == nullptr) return std::nullopt;
    return Absence{Reason::kStillInside, operation_text(*where, *inside), "", inside->started_ns};
  }

  std::string process_note(const RankEvidence& rank) const {
    if (!evidence_.is_live()) return "";
    const std::string process = "process " + std::to_string(rank.log.process.pid);
    if (rank.process == ProcessState::kStopped) return " (" + process + " is stopped)";
    if (rank.process == ProcessState::kGone && rank.log.end == FlightEnd::kOpen) {
      return " (" + process + " is gone)";
    }
    return "";
  }

  const FlightEvidence& evidence_;
  const std::vector<Group>& groups_;
  const Group& group_;
};

std::string reason_text(const Absence& absence, bool one, bool is_live, std::int64_t now_ns) {
  const std::string they = one ? "it" : "they";
  const std::string their = one ? "its" : "their";
  const std::int64_t age_ns = now_ns - absence.since_ns.value_or(now_ns);
  const std::string ago = duration_text(age_ns) + (is_live ? " ago" : " before the end");
  switch (absence.reason) {
    case Reason::kNoRecord:
      return " left no record";
    case Reason::kLeftInOrder:
      return " never came: " + they + " had left in order " + ago;
    case Reason::kLeftByError:
      return " never came: " + they + " had left because of an error " + ago;
    case Reason::kStillInside:
      return " never came: " + they +
             (is_live ? (one ? " is" : " are") : (one ? " was" : " were")) + " still in " +
             absence.operation + ", " + (is_live ? "since " : "begun ") +
             (is_live ? duration_text(age_ns) : ago);
    case Reason::kLastEnded:
      return " never came, " + their + " last was " + absence.operation + ", ended " + ago;
    case Reason::kLastGaveUp:
      return " never came, " + their + " last was " + absence.operation + ", in which " + they +
             " gave up " + ago;
    case Reason::kCalledNothing:
      return " never came, and called nothing before";
  }
  return "";
}

}  // namespace

std::string operation_text(const Group& group, const FlightOperation& operation) {
  std::string text = operation.description();
  if (operation.is_collective()) {
    text = "operation " + std::to_string(operation.sequence) + " " + text;
  }
  return group.is_world() ? text : text + " of communicator " + group.name;
}

std::string absence_text(const FlightEvidence& evidence, const std::vector<Group>& groups,
                         std::size_t group, const std::vector<int>& absent) {
  const AbsenceReader reader(evidence, groups, group);
  std::vector<std::pair<Absence, std::vector<int>>> clauses;
  for (const int rank : absent) {
    const Absence absence = reader.of(rank);
    const auto alike = std::find_if(clauses.begin(), clauses.end(), [&](const auto& clause) {
      return clause.first.key() == absence.key();
    });
    if (alike == clauses.end()) {
      clauses.push_back({absence, {rank}});
      continue;
    }
    alike->second.push_back(rank);
    if (absence.since_ns) alike->first.since_ns = std::max(alike->first.since_ns, absence.since_ns);
  }
  std::string text;
  std::size_t untold = 0;
  for (std::size_t i = 0; i < clauses.size(); ++i) {
    const auto& [absence, ranks] = clauses[i];
    if (i >= kMostClauses) {
      untold += ranks.size();
      continue;
    }
    text += (text.empty() ? "" : "; ") + named_ranks(ranks) + absence.process +
            reason_text(absence, ranks.size() == 1, evidence.is_live(), evidence.now_ns);
  }
  if (untold > 0) text += "; and " + std::to_string(untold) + " ranks more";
  return text;
}

}  // namespace muster::launcher
