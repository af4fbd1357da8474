// Columns and keys.
#include "report.h"

#include <cstdio>

#include "bench_options.h"
#include "muster/base/error.h"

namespace muster::bench {
namespace {

constexpr double kMicro = 1e-6;

template <typename... Args>
std::string formatted(const char* format, Args... args) {
  char line[256];
  std::snprintf(line, sizeof(line), format, args...);
  return line;
}

std::ofstream open_json_file(const std::string& path, std::ios::openmode mode) {
  std::ofstream file;
  if (path.empty()) return file;
  file.open(path, mode);
  if (file) return file;
  throw ConfigError("--json: expected a file that can be written, found " + path +
                    "; name one in a directory that exists");
}

}  // namespace

double Result::algorithm_gb_s() const { return static_cast<double>(bytes) / timing.median_s / 1e9; }

double Result::of_bare() const { return bare_median_s / timing.median_s; }

Json to_json(const Result& result) {
  Json json;
  json["library"] = result.library;
  json["transport"] = result.transport;
  json["ranks"] = result.ranks;
  json["operation"] = result.name.operation;
  json["reduction"] = result.name.reduction;
  json["dtype"] = result.name.dtype;
  json["memory"] = result.name.memory;
  json["place"] = result.name.place;
  json["bytes"] = result.bytes;
  json["median_us"] = result.timing.median_s / kMicro;
  json["p10_us"] = result.timing.p10_s / kMicro;
  json["p90_us"] = result.timing.p90_s / kMicro;
  json["batches"] = result.plan.batches;
  json["runs_per_batch"] = result.plan.runs_per_batch;
  json["algorithm_gb_s"] = result.algorithm_gb_s();
  json["bus_gb_s"] = result.bus_gb_s();
  if (result.bare_median_s > 0) json["of_bare"] = result.of_bare();
  json["wrong"] = result.wrong;
  return json;
}

std::string table_head() {
  return formatted("#%9s  %-20s %-7s %-8s %-9s %-3s %11s %11s %11s %8s %8s %6s %6s\n", "bytes",
                   "operation", "reduce", "dtype", "memory", "in", "median us", "p10 us", "p90 us",
                   "alg GB/s", "bus GB/s", "bare", "wrong");
}

std::string table_row(const Result& result) {
  const std::string of_bare =
      result.bare_median_s > 0 ? formatted("%.0f%%", 100 * result.of_bare()) : "-";
  return formatted("%10s  %-20s %-7s %-8s %-9s %-3s %11.2f %11.2f %11.2f %8.3f %8.3f %6s %6lld",
                   bytes_text(result.bytes).c_str(), result.name.operation.c_str(),
                   result.name.reduction.c_str(), result.name.dtype.c_str(),
                   result.name.memory.c_str(), result.name.place.c_str(),
                   result.timing.median_s / kMicro, result.timing.p10_s / kMicro,
                   result.timing.p90_s / kMicro, result.algorithm_gb_s(), result.bus_gb_s(),
                   of_bare.c_str(), static_cast<long long>(result.wrong));
}

void empty_json_file(const std::string& path) { open_json_file(path, std::ios::trunc); }

Report::Report(const std::string& json_path)
    : json_path_(json_path), json_(open_json_file(json_path, std::ios::app)) {}

void Report::note(const std::string& text) {
  std::printf("# %s\n", text.c_str());
  std::fflush(stdout);
}

void Report::head() { std::printf("%s", table_head().c_str()); }

void Report::add(const Result& result) {
  std::printf("%s\n", table_row(result).c_str());
  std::fflush(stdout);
  if (!json_.is_open()) return;
  json_ << to_json(result).dump() << std::endl;
  if (json_) return;
  throw ConfigError("--json: expected to write " + json_path_ +
                    ", found that a write failed; free some space or name another file");
}

}  // namespace muster::bench
