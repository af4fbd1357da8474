// Temporary file, sync, rename, sync of the directory.
#include "durable_files.h"

#include <vector>

#include "muster/base/log.h"

namespace muster::checkpoint::internal {
namespace fs = std::filesystem;

void replace_file(const fs::path& path, Env& env,
                  const std::function<void(WritableFile& file)>& write) {
  fs::path temporary = path;
  temporary += ".tmp";
  const auto file = env.create_file(temporary);
  try {
    write(*file);
    file->sync();
    file->close();
    env.rename(temporary, path);
  } catch (...) {
    try {
      env.remove_all(temporary);
    } catch (const FileError& error) {
      MUSTER_LOG(WARNING) << "an unfinished file stays behind: " << error.what();
    }
    throw;
  }
  env.sync_directory(path.has_parent_path() ? path.parent_path() : fs::path("."));
}

void write_file_durably(const fs::path& path, const std::string& text, Env& env) {
  const auto file = env.create_file(path);
  file->write_at(0, text.data(), text.size());
  file->sync();
  file->close();
}

void create_directories_durably(const fs::path& directory, Env& env) {
  std::vector<fs::path> missing;
  for (fs::path level = directory; !level.empty() && !env.exists(level);
       level = level.parent_path()) {
    missing.push_back(level);
  }
  env.create_directories(directory);
  for (const fs::path& level : missing) {
    env.sync_directory(level.has_parent_path() ? level.parent_path() : fs::path("."));
  }
}

}  // namespace muster::checkpoint::internal
