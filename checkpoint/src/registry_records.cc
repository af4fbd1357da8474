// Records of a registry.
#include "registry_records.h"

#include <cmath>
#include <ctime>
#include <limits>

#include "file_errors.h"
#include "json_fields.h"
#include "muster/base/error.h"
#include "registry_uploads.h"
#include "sealed_json.h"

namespace muster::checkpoint::internal {
namespace {

constexpr const char* kRegistryFormat = "muster-registry";
constexpr const char* kVersionFormat = "muster-model-version";
constexpr const char* kPromotionFormat = "muster-promotion";

std::string record_text(const char* format, const Json& members) {
  Json json = {{"format", format}, {"version", kRegistryFormatVersion}};
  json.update(members);
  try {
    return sealed_text(json);
  } catch (const nlohmann::json::exception& e) {
    throw ConfigError(std::string("model registry: expected texts in UTF-8, found: ") + e.what());
  }
}

Json parse_record(std::string_view text, const char* format, const std::string& origin) {
  check_seal(text, "record", origin);
  Json json = parse_untrusted_json(text, origin);
  const JsonFields fields(json, origin);
  if (fields.text("format") != format) {
    fields.refuse("format", std::string("\"") + format + "\"", fields.any("format"));
  }
  const std::int64_t version = fields.integer("version", 1);
  if (version <= kRegistryFormatVersion) return json;
  throw Undecided(origin + ": expected registry format version " +
                  std::to_string(kRegistryFormatVersion) + " or older, found version " +
                  std::to_string(version) + "; read it with a newer Muster");
}

}  // namespace

std::string utc_text(std::chrono::system_clock::time_point time) {
  const std::time_t seconds = std::chrono::system_clock::to_time_t(time);
  std::tm parts{};
  gmtime_r(&seconds, &parts);
  char text[32];
  std::strftime(text, sizeof(text), "%Y-%m-%dT%H:%M:%SZ", &parts);
  return text;
}

std::string registry_text() { return record_text(kRegistryFormat, Json::object()); }

void check_registry_text(std::string_view text, const std::string& origin) {
  parse_record(text, kRegistryFormat, origin);
}

std::string version_text(const ModelVersion& version) {
  for (const auto& [metric, value] : version.registration.metrics) {
    if (std::isfinite(value)) continue;
    throw ConfigError("model registry: metric '" + metric + "': expected a finite number, found " +
                      std::to_string(value));
  }
  Json members = {{"model", version.name},
                  {"digest", version.digest},
                  {"step", version.step},
                  {"registered_at", version.registered_at},
                  {"run", version.registration.run},
                  {"parent", version.registration.parent},
                  {"metrics", Json(version.registration.metrics)}};
  if (!version.upload.empty()) members["upload"] = version.upload;
  return record_text(kVersionFormat, members);
}

ModelVersion version_from_text(std::string_view text, const std::string& origin) {
  const Json json = parse_record(text, kVersionFormat, origin);
  const JsonFields fields(json, origin);
  ModelVersion version;
  version.name = fields.text("model");
  version.digest = fields.text("digest");
  version.step = fields.integer("step", 0);
  version.registered_at = fields.text("registered_at");
  version.registration.run = fields.text("run");
  version.registration.parent = fields.text("parent");
  const Json& metrics = fields.any("metrics");
  for (const auto& [metric, value] : metrics.items()) {
    if (!metrics.is_object() || !value.is_number())
      fields.refuse("metrics", "an object of numbers", metrics);
    version.registration.metrics[metric] = value.get<double>();
  }
  if (!json.contains("upload")) return version;
  version.upload = fields.text("upload");
  if (!is_upload_name(version.upload))
    fields.refuse("upload", "the name of a directory", fields.any("upload"));
  return version;
}

std::string promotion_text(int version, const std::string& promoted_at) {
  return record_text(kPromotionFormat, {{"model_version", version}, {"promoted_at", promoted_at}});
}

int promotion_from_text(std::string_view text, const std::string& origin) {
  const Json json = parse_record(text, kPromotionFormat, origin);
  return static_cast<int>(
      JsonFields(json, origin).integer("model_version", 1, std::numeric_limits<int>::max()));
}

}  // namespace muster::checkpoint::internal
