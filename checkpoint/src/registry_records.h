// The JSON files of a model registry, as bytes and back (docs/model_registry.md).
#ifndef MUSTER_CHECKPOINT_SRC_REGISTRY_RECORDS_H_
#define MUSTER_CHECKPOINT_SRC_REGISTRY_RECORDS_H_

#include <chrono>
#include <string>
#include <string_view>

#include "muster/checkpoint/model_registry.h"

namespace muster::checkpoint::internal {

/// "2026-01-31T23:59:59Z"
std::string utc_text(std::chrono::system_clock::time_point time);

std::string registry_text();
/// Throws CheckpointError when this is no registry that this build reads.
void check_registry_text(std::string_view text, const std::string& origin);

/// Without directory, number and stages, which the file's place says. Throws ConfigError when a
/// metric is not finite or a text not UTF-8.
std::string version_text(const ModelVersion& version);
ModelVersion version_from_text(std::string_view text, const std::string& origin);

std::string promotion_text(int version, const std::string& promoted_at);
/// The version that was promoted.
int promotion_from_text(std::string_view text, const std::string& origin);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_REGISTRY_RECORDS_H_
