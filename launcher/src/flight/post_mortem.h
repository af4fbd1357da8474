// What the flight records say of a generation that has just failed.
#ifndef MUSTER_LAUNCHER_FLIGHT_POST_MORTEM_H_
#define MUSTER_LAUNCHER_FLIGHT_POST_MORTEM_H_

#include <filesystem>
#include <string>

#include "muster/base/env.h"
#include "rank_report.h"

namespace muster::launcher {

struct PostMortem {
  std::string hang;  ///< The verdict, when a rank waited in vain; "" otherwise.
  std::string
      command;  ///< Which says more; "" where there are no records, or they explain nothing.
};

/// `directory` holds the generation's records, and may hold those of an earlier run than `run_id`,
/// which are not looked at; `cause` is the report that explains its end. What cannot be read is not
/// told.
PostMortem examine_generation(const std::filesystem::path& directory, const std::string& run_id,
                              const RankReport& cause, Env& env);

}  // namespace muster::launcher

#endif  // MUSTER_LAUNCHER_FLIGHT_POST_MORTEM_H_
