// What is wrong with a machine, in words. Pure.
#ifndef MUSTER_LAUNCHER_DOCTOR_FINDINGS_H_
#define MUSTER_LAUNCHER_DOCTOR_FINDINGS_H_

#include <span>
#include <string>
#include <vector>

#include "doctor/facts.h"

namespace muster::launcher::doctor {

enum class Severity {
  kOk = 0,
  kNote = 1,     ///< Worth knowing; nothing is wrong.
  kWarning = 2,  ///< A job runs, but worse than it could, or may fail later.
  kError = 3,    ///< A job does not run, or gives no result.
};

const char* severity_name(Severity severity);  ///< "ok", "note", "warning", "error"

struct Finding {
  Severity severity = Severity::kOk;
  std::string id;      ///< "cpu.oversubscribed": stable, for scripts.
  std::string found;   ///< What there is.
  std::string why;     ///< Why it matters; empty when all is well.
  std::string action;  ///< What to do; empty when nothing need be done.
};

/// All of them, the worst first; where equal, in the order of the facts.
std::vector<Finding> findings(const Facts& facts);

/// 0: notes at most; 1: warnings; 2: errors (docs/failure_model.md).
int exit_code_of(std::span<const Finding> all);

/// How large the largest all-reduce may be so that `ranks` of them leave most of `usable_bytes`
/// alone.
std::int64_t bytes_to_measure(int ranks, std::int64_t usable_bytes);

/// Ranks to think of where none are asked for: one a usable core, at most 8.
int default_ranks(double usable_cores);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_FINDINGS_H_
