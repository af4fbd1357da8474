// The calls of muster-store.
#include "muster/checkpoint/object_store.h"

#include <unistd.h>

#include <cstdlib>
#include <utility>

#include "child_program.h"
#include "muster/base/error.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

constexpr const char* kProgram = "muster-store";

std::string program() {
  std::error_code ignored;
  const char* directory = std::getenv("MUSTER_PROGRAM_DIR");
  if (directory != nullptr && fs::exists(fs::path(directory) / kProgram, ignored))
    return fs::path(directory) / kProgram;
  const fs::path beside = fs::read_symlink("/proc/self/exe", ignored).parent_path() / kProgram;
  return fs::exists(beside, ignored) ? beside.string() : kProgram;
}

/// "CheckpointError: cannot ..." on the last line, after what may have been logged.
std::string reason_in(std::string text) {
  while (text.ends_with('\n')) text.pop_back();
  text.erase(0, text.rfind('\n') + 1);
  for (const std::string kind : {"CheckpointError: ", "ConfigError: "}) {
    if (text.starts_with(kind)) text.erase(0, kind.size());
  }
  return text;
}

}  // namespace

ObjectStore::ObjectStore(std::string url) : url_(std::move(url)) {}

ObjectStore::~ObjectStore() = default;

std::shared_ptr<internal::ChildProgram> ObjectStore::start(const std::vector<std::string>& words) {
  const std::lock_guard lock(mutex_);
  if (stopped_) throw CheckpointError(url_ + ": the use of the store was ended");
  running_ = std::make_shared<internal::ChildProgram>(words);
  return running_;
}

std::string ObjectStore::call(std::vector<std::string> words) {
  const std::string what = words.front();
  words.insert(words.begin(), {program(), "--of", std::to_string(getpid())});
  internal::ChildResult result = start(words)->wait();
  if (result.exit_code == 0) return std::move(result.out);
  const std::string reason = reason_in(std::move(result.err));
  throw CheckpointError(url_ + ": " +
                        (reason.empty() ? "muster-store " + what + " ended with exit code " +
                                              std::to_string(result.exit_code)
                                        : reason));
}

std::optional<ObjectStore::Found> ObjectStore::newest(std::int64_t before) {
  const std::string said = call({"newest", url_, std::to_string(before)});
  if (said.empty()) return std::nullopt;
  const Json json = parse_json(said, "muster-store newest");
  return Found{json.at("step").get<std::int64_t>(), json.at("path").get<std::string>(),
               json.at("run_state")};
}

void ObjectStore::fetch(const Found& found, const fs::path& directory) {
  call({"copy", found.path, directory.string()});
}

void ObjectStore::upload(const fs::path& checkpoint) { call({"copy", checkpoint.string(), url_}); }

void ObjectStore::retain(const Retention& retention) {
  std::vector<std::string> words = {"prune",
                                    url_,
                                    "--delete",
                                    "--keep",
                                    std::to_string(retention.keep_last),
                                    "--keep-every",
                                    std::to_string(retention.keep_every)};
  if (retention.keep_best > 0) {
    const std::string direction = retention.larger_is_better ? "max:" : "min:";
    words.insert(words.end(), {"--keep-best", std::to_string(retention.keep_best), "--score",
                               direction + retention.metric});
  }
  call(std::move(words));
}

void ObjectStore::stop() {
  const std::lock_guard lock(mutex_);
  stopped_ = true;
  if (running_) running_->stop();
}

}  // namespace muster::checkpoint
