// From findings to one sentence.
#include "flight/verdict.h"

#include <algorithm>
#include <set>

#include "flight/absence.h"
#include "flight/findings.h"
#include "flight/flight_words.h"

namespace muster::launcher {
namespace {

/// Some rank that it waits for does not wait in another of the findings.
bool is_cause(const Finding& finding, const std::vector<Finding>& findings) {
  if (finding.absent.empty() || !finding.disagreeing.empty()) return true;
  std::set<int> held_up;
  for (const Finding& other : findings) {
    if (&other == &finding) continue;
    held_up.insert(other.waiting.begin(), other.waiting.end());
    held_up.insert(other.failed.begin(), other.failed.end());
  }
  return std::any_of(finding.absent.begin(), finding.absent.end(),
                     [&](int rank) { return !held_up.contains(rank); });
}

/// Causes first, the oldest of them at the head. Returns how many are causes.
std::size_t put_causes_first(std::vector<Finding>& findings) {
  std::set<std::string> causes;
  for (const Finding& finding : findings) {
    if (is_cause(finding, findings)) causes.insert(finding.sentence);
  }
  std::stable_sort(findings.begin(), findings.end(), [&](const Finding& a, const Finding& b) {
    const bool a_is_cause = causes.contains(a.sentence);
    if (a_is_cause != causes.contains(b.sentence)) return a_is_cause;
    return a.waited_ns > b.waited_ns;
  });
  return causes.size();
}

struct Ends {
  std::vector<int> in_order;
  std::vector<int> by_error;
  std::vector<int> silent;  ///< The process is gone, or may be.
  std::vector<int> running;
  std::vector<int> unread;
  bool any_gone = false;
};

Ends ends_of(const FlightEvidence& evidence) {
  Ends ends;
  std::set<int> read;
  for (const RankEvidence& rank : evidence.ranks) {
    const int number = rank.log.rank;
    read.insert(number);
    if (rank.log.end == FlightEnd::kLeft) {
      ends.in_order.push_back(number);
    } else if (rank.log.end == FlightEnd::kFailed) {
      ends.by_error.push_back(number);
    } else if (rank.process == ProcessState::kRunning || rank.process == ProcessState::kStopped) {
      ends.running.push_back(number);
    } else {
      ends.silent.push_back(number);
      ends.any_gone = ends.any_gone || rank.process == ProcessState::kGone;
    }
  }
  for (int rank = 0; rank < evidence.world_size; ++rank) {
    if (!read.contains(rank)) ends.unread.push_back(rank);
  }
  return ends;
}

JobState state_of(const FlightEvidence& evidence, const Ends& ends,
                  const std::vector<Finding>& findings) {
  if (ends.in_order.size() == static_cast<std::size_t>(evidence.world_size)) {
    return JobState::kEndedInOrder;
  }
  const bool failed = !ends.by_error.empty() || ends.any_gone ||
                      std::any_of(findings.begin(), findings.end(),
                                  [](const Finding& finding) { return !finding.failed.empty(); });
  if (failed) return JobState::kDied;
  if (!evidence.is_live()) return JobState::kUnknown;
  const bool waits_long = std::any_of(findings.begin(), findings.end(), [](const Finding& finding) {
    return finding.waited_ns >= kPatienceNs;
  });
  return waits_long ? JobState::kHangs : JobState::kRuns;
}

/// The newest operation of the world that some rank came to.
std::string newest_operation(const FlightEvidence& evidence, const std::vector<Group>& groups) {
  const FlightOperation* newest = nullptr;
  for (const auto& [rank, member] : groups.front().members) {
    const FlightOperation* const last = member.last_begun();
    if (last != nullptr && (newest == nullptr || last->sequence > newest->sequence)) newest = last;
  }
  if (newest == nullptr) return "no operation was begun";
  return "the newest is " + operation_text(groups.front(), *newest) + ", begun " +
         duration_text(evidence.now_ns - newest->started_ns) +
         (evidence.is_live() ? " ago" : " before the end");
}

std::string ends_text(const Ends& ends) {
  std::string text;
  const auto add = [&](const std::vector<int>& ranks, const std::string& what) {
    if (!ranks.empty()) text += (text.empty() ? "" : "; ") + named_ranks(ranks) + what;
  };
  add(ends.by_error, " left because of an error");
  add(ends.silent, " ended without a word");
  add(ends.running, ends.running.size() == 1 ? " is there" : " are there");
  add(ends.in_order, " left in order");
  add(ends.unread, " left no record");
  return text;
}

std::string sentence_of(const FlightEvidence& evidence, const std::vector<Group>& groups,
                        const Ends& ends, const Verdict& verdict, std::size_t causes) {
  switch (verdict.state) {
    case JobState::kEndedInOrder:
      return ends_text(ends) + "; " + newest_operation(evidence, groups);
    case JobState::kRuns:
      return newest_operation(evidence, groups);
    default:
      break;
  }
  if (verdict.findings.empty()) {
    return "no rank was in an operation; " + ends_text(ends) + "; " +
           newest_operation(evidence, groups);
  }
  if (causes > 0 || verdict.findings.size() < 2) return verdict.findings.front().sentence;
  return "ranks wait for each other: " + verdict.findings[0].sentence + ". And " +
         verdict.findings[1].sentence;
}

}  // namespace

const char* job_state_name(JobState state) {
  switch (state) {
    case JobState::kEndedInOrder:
      return "ended in order";
    case JobState::kRuns:
      return "runs";
    case JobState::kHangs:
      return "hangs";
    case JobState::kDied:
      return "died";
    case JobState::kUnknown:
      return "unknown";
  }
  return "";
}

Verdict judge(const FlightEvidence& evidence) {
  const std::vector<Group> groups = index_operations(evidence);
  const Ends ends = ends_of(evidence);
  Verdict verdict;
  verdict.findings = find_blocked(evidence, groups);
  const std::size_t causes = put_causes_first(verdict.findings);
  verdict.state = state_of(evidence, ends, verdict.findings);
  if (verdict.state == JobState::kEndedInOrder || verdict.state == JobState::kRuns) {
    verdict.findings.clear();
  }
  verdict.sentence = sentence_of(evidence, groups, ends, verdict, causes);
  return verdict;
}

}  // namespace muster::launcher
