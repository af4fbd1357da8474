// Lists, sizes and their combinations.
#include "bench_options.h"

#include <algorithm>
#include <charconv>
#include <functional>
#include <limits>

#include "exact_pattern.h"
#include "muster/base/error.h"
#include "operation_shapes.h"

namespace muster::bench {
namespace {

constexpr std::int64_t kMostBytes = std::int64_t{16} << 30;
constexpr std::int64_t kMostRanks = 64;

template <typename Range, typename Name>
std::string joined(const Range& range, const Name& name) {
  std::string text;
  for (const auto& item : range) text += (text.empty() ? "" : ", ") + name(item);
  return text;
}

std::string as_is(const std::string& text) { return text; }

std::vector<std::string> split(const std::string& text, const std::string& flag) {
  std::vector<std::string> items;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (end == begin) {
      throw ConfigError(flag + ": expected names with commas between them, found '" + text +
                        "'; leave no name empty");
    }
    items.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return items;
}

std::vector<std::string> split_known(const std::string& text, const std::string& flag,
                                     const std::vector<std::string>& known) {
  std::vector<std::string> items = split(text, flag);
  for (const std::string& item : items) {
    if (std::find(known.begin(), known.end(), item) != known.end()) continue;
    throw ConfigError(flag + ": expected names from " + joined(known, as_is) + ", found '" + item +
                      "'; correct the list");
  }
  return items;
}

std::int64_t parse_whole(const std::string& text, const std::string& flag, std::int64_t least,
                         std::int64_t most) {
  std::int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && stop == end && value >= least && value <= most) return value;
  throw ConfigError(flag + ": expected whole numbers from " + std::to_string(least) + " to " +
                    std::to_string(most) + ", found '" + text + "'; correct it");
}

std::vector<std::int64_t> sizes_of(const BenchOptions& options) {
  const std::int64_t least = parse_bytes(options.min_bytes, "--min-bytes");
  const std::int64_t most = parse_bytes(options.max_bytes, "--max-bytes");
  if (most < least) {
    throw ConfigError("--max-bytes: expected at least --min-bytes (" + options.min_bytes +
                      "), found " + options.max_bytes + "; raise the one or lower the other");
  }
  if (options.factor < 2) {
    throw ConfigError("--factor: expected at least 2, found " + std::to_string(options.factor) +
                      "; for one size give --min-bytes and --max-bytes alike");
  }
  std::vector<std::int64_t> sizes;
  for (std::int64_t bytes = least; bytes <= most; bytes *= options.factor) {
    sizes.push_back(bytes);
    if (bytes > most / options.factor) break;
  }
  return sizes;
}

// Rows of the report: operations first, then the dtypes and so on of each.
std::vector<CaseName> cases_of(const BenchOptions& options) {
  const auto dtypes = split(options.dtypes, "--dtypes");
  std::for_each(dtypes.begin(), dtypes.end(), scalar_type_of);
  const auto reductions = split_known(options.reductions, "--reductions", reduction_names());
  const auto memories = split_known(options.memory, "--memory", {"symmetric", "ordinary"});
  const auto places = split_known(options.places, "--places", {"in", "out"});
  std::vector<CaseName> cases;
  for (const std::string& operation : split(options.operations, "--operations")) {
    const OperationShape& shape = operation_shape(operation);
    if (shape.output == Extent::kNone) {  // no memory: one case
      cases.push_back({operation, "", dtypes[0], memories[0], places[0]});
      continue;
    }
    for (const std::string& reduction : shape.reduces ? reductions : std::vector<std::string>{""}) {
      for (const std::string& dtype : dtypes) {
        for (const std::string& memory : memories) {
          for (const std::string& place : places) {
            cases.push_back({operation, reduction, dtype, memory, place});
          }
        }
      }
    }
  }
  return cases;
}

std::int64_t at_least(std::int64_t value, std::int64_t least, const std::string& flag) {
  if (value >= least) return value;
  throw ConfigError(flag + ": expected at least " + std::to_string(least) + ", found " +
                    std::to_string(value) + "; raise it");
}

double positive(double value, const std::string& flag) {
  if (value > 0) return value;
  throw ConfigError(flag + ": expected more than 0 seconds, found " + std::to_string(value) +
                    "; raise it");
}

}  // namespace

void BenchOptions::bind(OptionSet& set) {
  set.group("Ranks");
  set.add("ranks", &ranks,
          "Without a launcher: numbers of ranks to start, one after the other; 2,4");
  set.add_choice("transport", &transport, {"auto", "shm", "mpi"}, "What carries the data");
  set.add("timeout-s", &timeout_s, "Seconds that an operation may take");
  set.group("What to run");
  set.add("operations", &operations,
          "With commas between them: " +
              joined(operation_shapes(), [](const OperationShape& shape) { return shape.name; }));
  set.add("reductions", &reductions, joined(reduction_names(), as_is));
  set.add("dtypes", &dtypes,
          "float32, float64, float16, bfloat16, int8, uint8, int16, int32, int64");
  set.add("memory", &memory, "symmetric (allocate_symmetric), ordinary");
  set.add("places", &places, "in (place), out (of place)");
  set.add("min-bytes", &min_bytes, "Smallest size; 1000, 64KiB, 256M");
  set.add("max-bytes", &max_bytes, "Largest size");
  set.add("factor", &factor, "From one size to the next");
  set.add("bare-loop", &bare_loop,
          "Measure beside it the bare shared-memory loop that no float32 sum can outrun");
  set.group("How");
  set.add("warmup", &warmup, "Runs of each case before it is timed");
  set.add("seconds", &seconds, "About how long to time each case of each size");
  set.add("json", &json, "Write one JSON object a row to this file");
}

BenchPlan make_plan(const BenchOptions& options) {
  BenchPlan plan;
  std::string problems;
  const auto check = [&](const std::function<void()>& read) {
    try {
      read();
    } catch (const ConfigError& e) {
      problems += (problems.empty() ? "" : "\n") + std::string(e.what());
    }
  };
  check([&] {
    for (const std::string& text : split(options.ranks, "--ranks")) {
      plan.ranks.push_back(static_cast<int>(parse_whole(text, "--ranks", 1, kMostRanks)));
    }
  });
  check([&] { plan.sizes_bytes = sizes_of(options); });
  check([&] { plan.cases = cases_of(options); });
  check([&] { plan.warmup = at_least(options.warmup, 1, "--warmup"); });
  check([&] { plan.case_s = positive(options.seconds, "--seconds"); });
  check([&] { positive(options.timeout_s, "--timeout-s"); });
  if (!problems.empty()) throw ConfigError(problems);
  plan.bare_loop = options.bare_loop;
  return plan;
}

std::int64_t parse_bytes(const std::string& text, const std::string& flag) {
  const std::string digits = text.substr(0, text.find_first_not_of("0123456789"));
  std::string unit = text.substr(digits.size());
  if (unit.size() == 3 && unit.substr(1) == "iB") unit.pop_back(), unit.pop_back();
  const std::string units = "KMG";
  const std::size_t power = unit.empty() ? 0 : units.find(unit) + 1;
  if (unit.size() > 1 || power > units.size() || digits.empty() || (!unit.empty() && power == 0)) {
    throw ConfigError(flag + ": expected bytes such as 1000, 64KiB, 256M or 1GiB, found '" + text +
                      "'; correct it");
  }
  const std::int64_t unit_bytes = std::int64_t{1} << (10 * power);
  return parse_whole(digits, flag, 1, kMostBytes / unit_bytes) * unit_bytes;
}

std::string bytes_text(std::int64_t bytes) {
  static constexpr const char* kUnits[] = {"", "KiB", "MiB", "GiB"};
  std::size_t power = 0;
  while (power < 3 && bytes % 1024 == 0 && bytes > 0) {
    bytes /= 1024;
    ++power;
  }
  return std::to_string(bytes) + kUnits[power];
}

}  // namespace muster::bench
