// The program `muster-hdf5`: the commands of `muster` that need HDF5. Started by `muster`, which
// has told their help.
#include <cstdio>
#include <exception>

#include "commands/checkpoint_path.h"
#include "commands/export_words.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/directory_lock.h"
#include "muster/checkpoint/export.h"
#include "muster/checkpoint/import.h"

namespace muster::launcher {
namespace {

int export_to_hdf5(const Words& words) {
  const ExportRequest request = parse_export(words);
  const auto env = make_system_env();
  return with_newest_at(request.source, "export", *env, [&](const checkpoint::Checkpoint& source) {
    print_exported(source, request,
                   checkpoint::export_hdf5(source, request.target, request.options, *env));
    return 0;
  });
}

int import_from_safetensors(const Words& words) {
  const ParsedWords parsed = take_words(words, "import", {"--as-is"}, 2, 2);
  const auto env = make_system_env();
  const auto file = checkpoint::SafetensorsModel::open(parsed.operands[0], *env);
  checkpoint::DirectoryLock lock(parsed.operands[1]);
  lock.take();
  checkpoint::CheckpointStore store(parsed.operands[1], *env);
  checkpoint::ImportOptions options;
  if (parsed.switches.contains("--as-is")) options.prefix = "";
  const std::filesystem::path path = checkpoint::import_safetensors(file, store, options);
  std::printf("%s: %zu tensors from %s\n", path.c_str(), file.tensors().size(),
              file.path().c_str());
  return 0;
}

int run(const Words& words) {
  if (!words.empty() && words[0] == "export")
    return export_to_hdf5({words.begin() + 1, words.end()});
  if (!words.empty() && words[0] == "import")
    return import_from_safetensors({words.begin() + 1, words.end()});
  throw ConfigError("muster-hdf5: expected to be started by muster export or muster import");
}

}  // namespace
}  // namespace muster::launcher

int main(int argc, char** argv) {
  try {
    return muster::launcher::run({argv + 1, argv + argc});
  } catch (const muster::Error& e) {
    std::fprintf(stderr, "%s: %s\n", e.kind(), e.what());
    return static_cast<int>(e.exit_code());
  } catch (const std::exception& e) {
    std::fprintf(stderr, "InternalError: %s\n", e.what());
    return static_cast<int>(muster::ExitCode::kInternalError);
  }
}
