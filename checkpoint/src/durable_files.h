// Names that survive a power cut: files that appear whole or not at all, and directories.
#ifndef MUSTER_CHECKPOINT_SRC_DURABLE_FILES_H_
#define MUSTER_CHECKPOINT_SRC_DURABLE_FILES_H_

#include <filesystem>
#include <functional>
#include <string>

#include "muster/base/env.h"

namespace muster::checkpoint::internal {

/// `write` fills a temporary file beside `path`, which is then synced and renamed, and the
/// directory synced. What is thrown on the way, FileError included, comes through and leaves `path`
/// as it was.
void replace_file(const std::filesystem::path& path, Env& env,
                  const std::function<void(WritableFile& file)>& write);

/// Creates or truncates a file and makes its bytes, not its name, durable. FileErrors come through.
void write_file_durably(const std::filesystem::path& path, const std::string& text, Env& env);

/// Creates `directory` and makes the name of each level that was missing durable.
void create_directories_durably(const std::filesystem::path& directory, Env& env);

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_DURABLE_FILES_H_
