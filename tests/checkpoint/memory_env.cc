// A tree of nodes, each with what is seen and what is synced.
#include "memory_env.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

class MemoryWritableFile : public WritableFile {
 public:
  MemoryWritableFile(MemoryEnv& env, fs::path path, std::shared_ptr<MemoryEnv::Node> node)
      : env_(env), path_(std::move(path)), node_(std::move(node)) {}

  void write_at(std::uint64_t offset, const void* data, std::size_t bytes) override {
    try {
      env_.count_call("write", path_);
    } catch (const FileError&) {
      put(offset, data, bytes / 2);
      throw;
    }
    put(offset, data, bytes);
  }

  void sync() override {
    env_.count_call("sync", path_);
    node_->synced_content = node_->content;
  }

  void close() override { env_.count_call("close", path_); }

 private:
  void put(std::uint64_t offset, const void* data, std::size_t bytes) {
    std::string& content = node_->content;
    content.resize(std::max<std::size_t>(content.size(), offset + bytes));
    std::memcpy(content.data() + offset, data, bytes);
  }

  MemoryEnv& env_;
  fs::path path_;
  std::shared_ptr<MemoryEnv::Node> node_;
};

class MemoryReadableFile : public ReadableFile {
 public:
  MemoryReadableFile(MemoryEnv& env, fs::path path, std::shared_ptr<MemoryEnv::Node> node)
      : env_(env), path_(std::move(path)), node_(std::move(node)) {}

  std::uint64_t size_bytes() const override { return node_->content.size(); }

  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    env_.count_call("read", path_);
    const std::string& content = node_->content;
    if (offset >= content.size()) return 0;
    const std::size_t count = std::min<std::size_t>(bytes, content.size() - offset);
    content.copy(static_cast<char*>(out), count, offset);
    env_.count_read(count);
    return count;
  }

 private:
  MemoryEnv& env_;
  fs::path path_;
  std::shared_ptr<MemoryEnv::Node> node_;
};

void forget_unsynced(MemoryEnv::Node& node) {
  node.content = node.synced_content;
  node.entries = node.synced_entries;
  for (auto& [name, child] : node.entries) forget_unsynced(*child);
}

}  // namespace

MemoryEnv::MemoryEnv() : root_(std::make_shared<Node>()) { root_->is_directory = true; }

void MemoryEnv::fail_at(std::int64_t call, Failure failure, int errno_value) {
  calls_ = 0;
  failing_call_ = call;
  failure_ = failure;
  errno_value_ = errno_value;
}

void MemoryEnv::stop_failing() { failing_call_ = std::numeric_limits<std::int64_t>::max(); }

void MemoryEnv::count_call(const char* operation, const fs::path& path) {
  const std::int64_t call = calls_++;
  if (call == failing_call_ || (call > failing_call_ && failure_ == Failure::kDeath)) {
    throw FileError(operation, path, errno_value_);
  }
}

void MemoryEnv::lose_power() { forget_unsynced(*root_); }

std::string& MemoryEnv::content(const fs::path& path) { return require("look at", path)->content; }

std::shared_ptr<MemoryEnv::Node> MemoryEnv::find(const fs::path& path) {
  std::shared_ptr<Node> node = root_;
  for (const fs::path& part : path.relative_path()) {
    const auto entry = node->entries.find(part.string());
    if (entry == node->entries.end()) return nullptr;
    node = entry->second;
  }
  return node;
}

std::shared_ptr<MemoryEnv::Node> MemoryEnv::require(const char* operation, const fs::path& path) {
  auto node = find(path);
  if (!node) throw FileError(operation, path, ENOENT);
  return node;
}

std::shared_ptr<MemoryEnv::Node> MemoryEnv::require_parent(const char* operation,
                                                           const fs::path& path) {
  auto parent = find(path.parent_path());
  if (!parent) throw FileError(operation, path, ENOENT);
  if (!parent->is_directory) throw FileError(operation, path, ENOTDIR);
  return parent;
}

std::unique_ptr<WritableFile> MemoryEnv::create_file(const fs::path& path) {
  count_call("create", path);
  const auto parent = require_parent("create", path);
  auto& node = parent->entries[path.filename().string()];
  if (!node) node = std::make_shared<Node>();
  node->content.clear();
  return std::make_unique<MemoryWritableFile>(*this, path, node);
}

std::unique_ptr<ReadableFile> MemoryEnv::open_file(const fs::path& path) {
  count_call("open", path);
  auto node = require("open", path);
  if (node->is_directory) throw FileError("read", path, EISDIR);
  return std::make_unique<MemoryReadableFile>(*this, path, std::move(node));
}

void MemoryEnv::create_directories(const fs::path& path) {
  count_call("create directory", path);
  std::shared_ptr<Node> node = root_;
  for (const fs::path& part : path.relative_path()) {
    auto& child = node->entries[part.string()];
    if (!child) {
      child = std::make_shared<Node>();
      child->is_directory = true;
    }
    if (!child->is_directory) throw FileError("create directory", path, ENOTDIR);
    node = child;
  }
}

void MemoryEnv::sync_directory(const fs::path& path) {
  count_call("sync directory", path);
  const auto node = require("sync directory", path);
  node->synced_entries = node->entries;
}

void MemoryEnv::rename(const fs::path& from, const fs::path& to) {
  count_call("rename", from);
  const auto from_parent = require_parent("rename", from);
  const auto to_parent = require_parent("rename", to);
  const auto moved = require("rename", from);
  const auto target = find(to);
  if (target && target->is_directory && !target->entries.empty()) {
    throw FileError("rename to " + to.string(), from, ENOTEMPTY);
  }
  from_parent->entries.erase(from.filename().string());
  to_parent->entries[to.filename().string()] = moved;
}

void MemoryEnv::remove_all(const fs::path& path) {
  // One by one, as a file system does it: a directory can be left half empty.
  if (const auto node = find(path)) {
    while (!node->entries.empty()) remove_all(path / node->entries.begin()->first);
  }
  count_call("remove", path);
  const auto parent = find(path.parent_path());
  if (parent) parent->entries.erase(path.filename().string());
}

std::vector<std::string> MemoryEnv::list_directory(const fs::path& path) {
  count_call("list directory", path);
  std::vector<std::string> names;
  for (const auto& [name, child] : require("list directory", path)->entries) names.push_back(name);
  return names;
}

bool MemoryEnv::exists(const fs::path& path) {
  count_call("stat", path);
  return find(path) != nullptr;
}

}  // namespace muster::checkpoint
