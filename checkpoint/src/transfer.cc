// Copying files between environments.
#include "muster/checkpoint/transfer.h"

#include <algorithm>
#include <vector>

#include "durable_files.h"
#include "file_errors.h"
#include "muster/base/error.h"

namespace muster::checkpoint {
namespace fs = std::filesystem;

namespace {

using internal::with_file_errors;

constexpr std::uint64_t kBufferBytes = 8 << 20;

void copy_file(const fs::path& source, Env& from, const fs::path& target, Env& to) {
  const auto in = from.open_file(source);
  const auto out = to.create_file(target);
  const std::uint64_t bytes = in->size_bytes();
  std::vector<std::byte> buffer(static_cast<std::size_t>(std::min(bytes, kBufferBytes)));
  for (std::uint64_t at = 0; at < bytes;) {
    const std::size_t found = in->read_at(at, buffer.data(), buffer.size());
    if (found == 0) {
      throw CheckpointError("copying " + source.string() + ": expected " + std::to_string(bytes) +
                            " bytes, found " + std::to_string(at) +
                            ": it became shorter meanwhile; look who changes it");
    }
    out->write_at(at, buffer.data(), found);
    at += found;
  }
  out->sync();
  out->close();
}

}  // namespace

void copy_checkpoint(const Checkpoint& source, Env& from, const fs::path& target, Env& to) {
  with_file_errors("copying " + source.directory().string() + " to " + target.string(), [&] {
    to.create_directories(target);
    for (const ManifestFile& file : source.manifest().files)
      copy_file(source.directory() / file.file, from, target / file.file, to);
    copy_file(source.directory() / kManifestFile, from, target / kManifestFile, to);
    to.sync_directory(target);
  });
}

Checkpoint copy_checked(const Checkpoint& source, Env& from, const fs::path& target, Env& to) {
  copy_checkpoint(source, from, target, to);
  Checkpoint copy = Checkpoint::open(target, to);
  const std::vector<Problem> problems = copy.verify();
  if (problems.empty()) return copy;
  throw CheckpointError(
      source.directory().string() +
      ": expected a checkpoint all of whose bytes are right, found in its copy: " +
      problems.front().message + "; see muster verify");
}

void fetch_checkpoint(const Checkpoint& source, Env& from, const fs::path& target, Env& to) {
  const fs::path attempt =
      target.parent_path() / (".attempt-" + target.filename().string() + "-g0");
  with_file_errors("downloading to " + target.string(), [&] {
    if (to.exists(target)) {
      throw CheckpointError(target.string() +
                            ": expected nothing there, found another checkpoint of that step; move "
                            "it away, or choose another directory");
    }
    internal::create_directories_durably(target.parent_path(), to);
    to.remove_all(attempt);
    try {
      copy_checked(source, from, attempt, to);
    } catch (const CheckpointError&) {
      to.remove_all(attempt);
      throw;
    }
    to.rename(attempt, target);
    to.sync_directory(target.parent_path());
  });
}

void remove_checkpoint(const fs::path& path, Env& env) {
  with_file_errors("deleting " + path.string(), [&] {
    env.remove_all(path / kManifestFile);
    env.remove_all(path);
  });
}

}  // namespace muster::checkpoint
