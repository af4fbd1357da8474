// What `muster doctor` prints. Pure.
#ifndef MUSTER_LAUNCHER_DOCTOR_REPORT_H_
#define MUSTER_LAUNCHER_DOCTOR_REPORT_H_

#include <span>
#include <string>

#include "doctor/facts.h"
#include "doctor/findings.h"
#include "muster/base/json.h"

namespace muster::launcher::doctor {

/// For people: the facts in a column, then each finding with its why and what to do.
std::string report_text(const Facts& facts, std::span<const Finding> all);

/// For programs: {"facts": ..., "findings": [...], "exit_code": 0}. docs/doctor.md names the
/// fields.
Json report_json(const Facts& facts, std::span<const Finding> all);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_REPORT_H_
