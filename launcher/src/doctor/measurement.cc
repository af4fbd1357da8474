// The measuring program's JSON, and what follows from it.
#include "doctor/measurement.h"

#include <algorithm>
#include <set>

namespace muster::launcher::doctor {
namespace {

const char* const kOrigin = "muster-doctor-measure";

double real(const Json& json, const char* key) { return json_field<double>(json, key, kOrigin); }

const Json& array(const Json& json, const char* key) {
  static const Json empty = Json::array();
  return json.contains(key) && json.at(key).is_array() ? json.at(key) : empty;
}

}  // namespace

int Measurement::hosts() const {
  std::set<std::string> names;
  for (const RankMeasurement& rank : ranks) names.insert(rank.host);
  return static_cast<int>(names.size());
}

double Measurement::copy_together_bytes_per_second() const {
  if (ranks.empty()) return 0;
  std::vector<double> speeds;
  for (const RankMeasurement& rank : ranks) speeds.push_back(rank.copy_bytes_per_second);
  const auto middle = speeds.begin() + static_cast<std::ptrdiff_t>(speeds.size() / 2);
  std::nth_element(speeds.begin(), middle, speeds.end());
  return *middle;
}

Measurement measurement_from_json(const Json& json) {
  Measurement result;
  result.transport = json_field<std::string>(json, "transport", kOrigin);
  result.copy_alone_bytes_per_second = real(json, "copy_alone_bytes_per_second");
  for (const Json& rank : array(json, "ranks")) {
    result.ranks.push_back({json_field<int>(rank, "rank", kOrigin),
                            json_field<std::string>(rank, "host", kOrigin), real(rank, "cpu_share"),
                            real(rank, "copy_bytes_per_second"),
                            json_field<std::int64_t>(rank, "memory_bytes", kOrigin)});
  }
  for (const Json& one : array(json, "all_reduce")) {
    result.all_reduce.push_back({json_field<std::int64_t>(one, "bytes", kOrigin),
                                 real(one, "seconds"), real(one, "best_seconds")});
  }
  for (const Json& one : array(json, "broadcasts")) {
    result.broadcasts.push_back(
        {json_field<std::string>(one, "host", kOrigin), real(one, "bytes_per_second")});
  }
  return result;
}

Json to_json(const Measurement& m) {
  if (!m.error.empty()) return {{"error", m.error}};
  Json json{{"transport", m.transport},
            {"hosts", m.hosts()},
            {"copy_alone_bytes_per_second", m.copy_alone_bytes_per_second},
            {"copy_together_bytes_per_second", m.copy_together_bytes_per_second()},
            {"stolen_share", m.stolen_share},
            {"throttled_periods", m.throttled_periods},
            {"ranks", Json::array()},
            {"all_reduce", Json::array()},
            {"broadcasts", Json::array()}};
  for (const RankMeasurement& rank : m.ranks) {
    json["ranks"].push_back({{"rank", rank.rank},
                             {"host", rank.host},
                             {"cpu_share", rank.cpu_share},
                             {"copy_bytes_per_second", rank.copy_bytes_per_second},
                             {"memory_bytes", rank.memory_bytes}});
  }
  for (const AllReduceTime& one : m.all_reduce) {
    json["all_reduce"].push_back(
        {{"bytes", one.bytes}, {"seconds", one.seconds}, {"best_seconds", one.best_seconds}});
  }
  for (const HostSpeed& one : m.broadcasts) {
    json["broadcasts"].push_back({{"host", one.host}, {"bytes_per_second", one.bytes_per_second}});
  }
  return json;
}

}  // namespace muster::launcher::doctor
