// The files of a snapshot.
#include "muster/checkpoint/snapshot_env.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/manifest.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

class TextFile : public ReadableFile {
 public:
  explicit TextFile(const std::string& text) : text_(text) {}
  std::uint64_t size_bytes() const override { return text_.size(); }
  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    if (offset >= text_.size()) return 0;
    const std::size_t length = std::min<std::size_t>(bytes, text_.size() - offset);
    std::memcpy(out, text_.data() + offset, length);
    return length;
  }

 private:
  const std::string& text_;
};

class PartFile : public ReadableFile {
 public:
  PartFile(const SnapshotMemory& memory, const SnapshotPart& part) : memory_(memory), part_(part) {}
  std::uint64_t size_bytes() const override { return static_cast<std::uint64_t>(part_.data_bytes); }
  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    return memory_.read_at(part_, offset, out, bytes);
  }

 private:
  const SnapshotMemory& memory_;
  const SnapshotPart part_;
};

[[noreturn]] void refuse(const char* operation, const fs::path& path) {
  throw FileError(operation, path, EROFS);
}

}  // namespace

SnapshotEnv::SnapshotEnv(const SnapshotMemory& memory, const SnapshotId& id)
    : memory_(memory), directory_("snapshot of step " + std::to_string(id.step) + " (memory)") {
  std::vector<ShardRecord> records;
  Json run_state;
  for (const SnapshotPart& part : memory.sealed_parts()) {
    if (part.id != id) continue;
    const Json text = memory.part_text(part);
    records.push_back(ShardRecord::from_json(text.at("record")));
    if (part.rank == 0) run_state = text.at("run_state");
    parts_[shard_file_name(part.rank, id.world_size)] = part;
  }
  manifest_text_ =
      Manifest::from_records(id.step, id.generation, records, std::move(run_state)).to_text();
}

std::unique_ptr<ReadableFile> SnapshotEnv::open_file(const fs::path& path) {
  const std::string name = path.filename().string();
  if (name == kManifestFile) return std::make_unique<TextFile>(manifest_text_);
  const auto part = parts_.find(name);
  if (part == parts_.end()) throw FileError("open", path, ENOENT);
  return std::make_unique<PartFile>(memory_, part->second);
}

std::vector<std::string> SnapshotEnv::list_directory(const fs::path&) {
  std::vector<std::string> names = {kManifestFile};
  for (const auto& [name, part] : parts_) names.push_back(name);
  return names;
}

bool SnapshotEnv::exists(const fs::path& path) {
  const std::string name = path.filename().string();
  return path == directory_ || name == kManifestFile || parts_.contains(name);
}

std::chrono::system_clock::time_point SnapshotEnv::now() {
  return std::chrono::system_clock::now();
}

std::unique_ptr<WritableFile> SnapshotEnv::create_file(const fs::path& path) {
  refuse("create", path);
}
void SnapshotEnv::create_directories(const fs::path& path) { refuse("mkdir", path); }
void SnapshotEnv::sync_directory(const fs::path& path) { refuse("fsync", path); }
void SnapshotEnv::rename(const fs::path& from, const fs::path&) { refuse("rename", from); }
void SnapshotEnv::remove_all(const fs::path& path) { refuse("remove", path); }

}  // namespace muster::checkpoint
