// What a benchmark prints: a table for people and one JSON object a row for programs.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_REPORT_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_REPORT_H_

#include <cstdint>
#include <fstream>
#include <string>

#include "library.h"
#include "muster/base/json.h"
#include "timing.h"

namespace muster::bench {

/// One row, complete.
struct Result {
  std::string library;
  std::string transport;
  int ranks = 1;
  CaseName name;
  std::int64_t bytes = 0;  ///< What nccl-tests calls the size; see OperationShape.
  double bus_factor = 1;
  BatchPlan plan;
  Timing timing;
  double bare_median_s = 0;  ///< Of the bare loop at this size in this run; 0 where not measured.
  std::int64_t wrong = 0;    ///< Elements with other bits than expected, of the worst rank.

  double algorithm_gb_s() const;  ///< 1e9 bytes of `bytes` a second, by the median.
  double bus_gb_s() const { return algorithm_gb_s() * bus_factor; }
  /// The part of the bare loop's speed that is reached; 0 where that was not measured.
  double of_bare() const;
};

Json to_json(const Result& result);
/// One line of the table, without its end.
std::string table_row(const Result& result);
/// What is above the rows.
std::string table_head();

/// Makes it, or removes what it held; "" is no file. Throws ConfigError when it cannot be written.
void empty_json_file(const std::string& path);

/// Writes to standard output and, unless the path is "", to the end of a file.
class Report {
 public:
  /// Throws ConfigError when the file cannot be written.
  explicit Report(const std::string& json_path);

  /// A line that begins with "#".
  void note(const std::string& text);
  void head();
  void add(const Result& result);

 private:
  std::string json_path_;
  std::ofstream json_;
};

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_REPORT_H_
