// The parts of findings(), one a field of medicine.
#ifndef MUSTER_LAUNCHER_DOCTOR_JUDGES_H_
#define MUSTER_LAUNCHER_DOCTOR_JUDGES_H_

#include <string>
#include <utility>
#include <vector>

#include "doctor/facts.h"
#include "doctor/findings.h"

namespace muster::launcher::doctor {

class Verdicts {
 public:
  void ok(std::string id, std::string found) {
    all_.push_back({Severity::kOk, std::move(id), std::move(found), "", ""});
  }
  void note(std::string id, std::string found, std::string why, std::string action = "") {
    add(Severity::kNote, std::move(id), std::move(found), std::move(why), std::move(action));
  }
  void warning(std::string id, std::string found, std::string why, std::string action) {
    add(Severity::kWarning, std::move(id), std::move(found), std::move(why), std::move(action));
  }
  void error(std::string id, std::string found, std::string why, std::string action) {
    add(Severity::kError, std::move(id), std::move(found), std::move(why), std::move(action));
  }
  std::vector<Finding> take() { return std::move(all_); }

 private:
  void add(Severity severity, std::string id, std::string found, std::string why,
           std::string action) {
    all_.push_back({severity, std::move(id), std::move(found), std::move(why), std::move(action)});
  }
  std::vector<Finding> all_;
};

void judge_cpu(const Facts& facts, Verdicts& verdicts);
void judge_memory(const Facts& facts, Verdicts& verdicts);
void judge_kernel(const Facts& facts, Verdicts& verdicts);
void judge_limits(const Facts& facts, Verdicts& verdicts);
void judge_mpi(const Facts& facts, Verdicts& verdicts);
void judge_build(const Facts& facts, Verdicts& verdicts);
void judge_gpu(const Facts& facts, Verdicts& verdicts);
void judge_network(const Facts& facts, Verdicts& verdicts);
void judge_storage(const Facts& facts, Verdicts& verdicts);
void judge_environment(const Facts& facts, Verdicts& verdicts);
void judge_leftovers(const Facts& facts, Verdicts& verdicts);
void judge_measurements(const Facts& facts, Verdicts& verdicts);

/// The value of a variable; empty where it is not set.
std::string variable(const Facts& facts, const std::string& name);

}  // namespace muster::launcher::doctor

#endif  // MUSTER_LAUNCHER_DOCTOR_JUDGES_H_
