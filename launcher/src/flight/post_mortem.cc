// When to look at the records.
#include "flight/post_mortem.h"

#include "flight/verdict.h"
#include "muster/base/error.h"

namespace muster::launcher {
namespace {

/// Ends that ranks brought upon each other, so that the story is in all their records.
bool concerns_several_ranks(const RankReport& cause) {
  switch (end_kind(cause)) {
    case EndKind::kCrashed:
    case EndKind::kTimedOut:
    case EndKind::kPeerLost:
      return true;
    default:
      return end_exit_code(cause) == static_cast<int>(ExitCode::kMismatch);
  }
}

}  // namespace

PostMortem examine_generation(const std::filesystem::path& directory, const std::string& run_id,
                              const RankReport& cause, Env& env) {
  if (!concerns_several_ranks(cause)) return {};
  try {
    const FlightEvidence evidence = read_flight_evidence(directory, env);
    if (evidence.run_id != run_id) return {};
    PostMortem result;
    result.command = "muster flight " + directory.string();
    if (end_kind(cause) == EndKind::kTimedOut) result.hang = judge(evidence).sentence;
    return result;
  } catch (const ConfigError&) {  // the program keeps no records
    return {};
  }
}

}  // namespace muster::launcher
