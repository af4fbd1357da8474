// Wording.
#include "announcement.h"

#include <algorithm>

namespace muster::launcher {
namespace {

std::string indented(const std::string& text) {
  std::string result = "  | ";
  for (const char c : text) {
    result += c;
    if (c == '\n') result += "  | ";
  }
  return result;
}

int others_with_same_message(const FailureFacts& facts) {
  if (!facts.cause->failure) return 0;
  return static_cast<int>(
      std::count_if(facts.reports.begin(), facts.reports.end(), [&](const RankReport& report) {
        return report.rank != facts.cause->rank && report.failure &&
               report.failure->kind == facts.cause->failure->kind &&
               report.failure->message == facts.cause->failure->message;
      }));
}

std::string headline(const FailureFacts& facts) {
  std::string text = "rank " + std::to_string(facts.cause->rank) + " of " +
                     std::to_string(facts.world_size) + " " + describe_end(*facts.cause);
  const std::int64_t step =
      std::max(facts.step, facts.cause->failure ? facts.cause->failure->step : 0);
  if (step > 0) text += " after step " + std::to_string(step);
  if (facts.cause->failure) text += ": " + facts.cause->failure->message;
  const int others = others_with_same_message(facts);
  if (others > 0)
    text += " (the same on " + std::to_string(others) +
            (others == 1 ? " other rank)" : " other ranks)");
  return text;
}

std::string next_text(const FailureFacts& facts) {
  const Decision& decision = facts.decision;
  if (decision.action == Action::kFinish) {
    return "not started again: " + decision.reason + "; exit code " +
           std::to_string(decision.exit_code);
  }
  return "starting again with " + ranks_text(decision.next.world_size) + " (" + decision.reason +
         "); the program goes on from its newest checkpoint";
}

}  // namespace

std::string ranks_text(int count) {
  return std::to_string(count) + (count == 1 ? " rank" : " ranks");
}

std::string failure_text(const FailureFacts& facts) {
  std::string text = headline(facts);
  if (!facts.log_tail.empty()) text += "\n" + indented(facts.log_tail);
  if (!facts.post_mortem.hang.empty()) text += "\n  hang: " + facts.post_mortem.hang;
  text += "\n  log:  " + facts.log_path.string();
  if (!facts.post_mortem.command.empty()) text += "\n  more: " + facts.post_mortem.command;
  text += "\n  next: " + next_text(facts);
  return text;
}

}  // namespace muster::launcher
