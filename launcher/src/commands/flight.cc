// muster flight
#include <charconv>
#include <cstdio>
#include <optional>
#include <string>

#include "commands/command.h"
#include "commands/words.h"
#include "flight/report.h"
#include "muster/base/env.h"
#include "muster/base/error.h"

namespace muster::launcher {
namespace {

constexpr int kDefaultLast = 20;

std::optional<int> number_given(const ParsedWords& parsed, const std::string& flag) {
  const auto found = parsed.values.find(flag);
  if (found == parsed.values.end()) return std::nullopt;
  const std::string& text = found->second;
  int number = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    throw ConfigError("muster flight: " + flag + ": expected a count, found '" + text +
                      "'; see muster help flight");
  }
  return number;
}

bool is_well(JobState state) {
  return state == JobState::kEndedInOrder || state == JobState::kRuns;
}

}  // namespace

int flight_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(flight_command_help().c_str(), stdout);
    return 0;
  }
  const ParsedWords parsed =
      take_words(words, "flight", {"--json"}, 1, 1, {"--last", "--generation"});
  const auto last = static_cast<std::size_t>(number_given(parsed, "--last").value_or(kDefaultLast));
  const auto env = make_system_env();
  const auto directory =
      find_flight_directory(parsed.operands[0], number_given(parsed, "--generation"), *env);
  const FlightReport report = make_flight_report(directory, read_flight_evidence(directory, *env));
  const std::string text = parsed.switches.contains("--json")
                               ? flight_report_json(report, last).dump(2) + "\n"
                               : flight_report_text(report, last);
  std::fputs(text.c_str(), stdout);
  if (!report.evidence.problems.empty()) return static_cast<int>(ExitCode::kDataError);
  return is_well(report.verdict.state) ? 0 : 1;
}

std::string flight_command_help() {
  return "usage: muster flight DIR [--json] [--last N] [--generation G]\n"
         "Says in which operation a job hangs, or died, and which ranks were missing from it, from "
         "the ranks'\n"
         "flight records; then the last operations over all ranks, and which ranks come late. Also "
         "while the\n"
         "job runs. DIR is the log directory of muster run, or what MUSTER_FLIGHT_DIR was.\n"
         "  --json           as one JSON object\n"
         "  --last N         how many operations are shown; 20 unless given\n"
         "  --generation G   which generation; the newest unless given\n"
         "Leaves with 0 when the job runs or ended in order, with 1 when it hangs or died, with 65 "
         "when some\n"
         "rank's record is missing or damaged (the rest is told all the same), with 64 when there "
         "is none.\n";
}

}  // namespace muster::launcher
