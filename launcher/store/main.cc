// The program `muster-store`: checkpoints and models in object stores, through Arrow. Started by
// `muster`, which has told the help, and by rank 0 of a training run (checkpoint/object_store.h).
#include <sys/prctl.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <map>
#include <string>
#include <vector>

#include "commands/checkpoint_path.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/words.h"
#include "muster/base/error.h"
#include "muster/base/json.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/layout.h"
#include "muster/checkpoint/transfer.h"
#include "s3_env.h"

namespace muster::launcher {
namespace {

using checkpoint::Checkpoint;

/// What is at both ends of a copy, the environments included.
struct Ends {
  std::unique_ptr<Env> files = make_system_env();
  S3Env objects;

  Env& of(const std::string& path) {
    if (is_store_url(path)) return objects;
    return *files;
  }
};

bool is_same(const Checkpoint& source, const std::filesystem::path& target, Env& env) {
  if (!env.exists(target / checkpoint::kManifestFile)) return false;
  return Checkpoint::open(target, env).manifest().to_text() == source.manifest().to_text();
}

int copy_to(const std::string& to, const Checkpoint& source, Env& from, Env& env) {
  const std::filesystem::path target =
      std::filesystem::path(to) / checkpoint::step_directory_name(source.manifest().step);
  if (is_same(source, target, env)) {
    std::printf("%s: there already\n", target.c_str());
    return 0;
  }
  if (is_store_url(to)) {
    checkpoint::remove_checkpoint(target, env);
    checkpoint::copy_checkpoint(source, from, target, env);
  } else {
    checkpoint::fetch_checkpoint(source, from, target, env);
  }
  std::printf("%s: %zu tensors from %s\n", target.c_str(), source.manifest().tensors.size(),
              source.directory().c_str());
  return 0;
}

/// copy SOURCE TARGET: the checkpoint to TARGET/step-NNNNNNNN.
int copy(const Words& words) {
  const ParsedWords parsed = take_words(words, "copy", {}, 2, 2);
  const auto& [from, to] = std::pair(parsed.operands[0], parsed.operands[1]);
  Ends ends;
  Env& source_env = ends.of(from);
  return with_newest_at(from, "copy", source_env, [&](const Checkpoint& source) {
    return copy_to(to, source, source_env, ends.of(to));
  });
}

/// newest URL STEP: what ObjectStore::newest() wants to know, as JSON; nothing where there is none.
int newest(const Words& words) {
  const ParsedWords parsed = take_words(words, "newest", {}, 2, 2);
  const std::int64_t before = std::stoll(parsed.operands[1]);
  S3Env env;
  const std::vector<checkpoint::Info> all =
      checkpoint::CheckpointStore(parsed.operands[0], env).list();
  for (auto info = all.rbegin(); info != all.rend(); ++info) {
    if (!info->complete || info->step >= before) continue;
    const Checkpoint found = Checkpoint::open(info->path, env);
    const Json json = {{"step", info->step},
                       {"path", info->path.string()},
                       {"run_state", found.manifest().run_state}};
    std::printf("%s\n", json.dump().c_str());
    return 0;
  }
  return 0;
}

/// model register|list|get|promote, with a registry or a checkpoint in a store.
int model(const Words& words) {
  Ends ends;
  const ModelPlaces places{
      .env = [&](const std::string& path) -> Env& { return ends.of(path); },
      .registry =
          [&](const std::string& directory) {
            if (!is_store_url(directory)) return checkpoint::ModelRegistry(directory, *ends.files);
            return checkpoint::ModelRegistry(
                directory, ends.objects,
                [&](const std::filesystem::path& path, const std::string& text) {
                  return ends.objects.create_once(path, text);
                });
          }};
  return model_in(places, words);
}

/// Deletes what uploads that died left behind: no manifest, and older than a whole checkpoint.
void sweep(const std::string& directory, Env& env) {
  const std::vector<checkpoint::Info> all = checkpoint::CheckpointStore(directory, env).list();
  std::int64_t newest = 0;
  for (const checkpoint::Info& info : all) {
    if (info.complete) newest = std::max(newest, info.step);
  }
  for (const checkpoint::Info& info : all) {
    if (info.complete || info.step >= newest) continue;
    if (!env.exists(info.path / checkpoint::kManifestFile))
      checkpoint::remove_checkpoint(info.path, env);
  }
}

/// prune URL ...: as on disk, and with --delete the leftovers, too.
int prune(Env& env, const Words& words) {
  const int exit_code = prune_in(env, words);
  if (std::find(words.begin(), words.end(), "--delete") != words.end())
    sweep(*std::find_if(words.begin(), words.end(), is_store_url), env);
  return exit_code;
}

/// Ends with the thread that started this program, which is of process `parent`.
void end_with(pid_t parent) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (getppid() != parent) std::_Exit(static_cast<int>(ExitCode::kCheckpointError));
}

int run(Words words) {
  if (words.size() > 1 && words[0] == "--of") {
    end_with(std::stoi(words[1]));
    words.erase(words.begin(), words.begin() + 2);
  }
  const std::string command = words.empty() ? "" : words.front();
  const Words rest(words.begin() + (words.empty() ? 0 : 1), words.end());
  if (command == "copy") return copy(rest);
  if (command == "newest") return newest(rest);
  if (command == "model") return model(rest);
  const std::map<std::string, int (*)(Env&, const Words&)> others = {
      {"inspect", inspect_in},
      {"verify", verify_in},
      {"checkpoints", checkpoints_in},
      {"prune", prune}};
  if (const auto found = others.find(command); found != others.end()) {
    S3Env env;
    return found->second(env, rest);
  }
  throw ConfigError("muster-store: expected to be started by muster or by a training run");
}

}  // namespace
}  // namespace muster::launcher

int main(int argc, char** argv) {
  try {
    return muster::launcher::run({argv + 1, argv + argc});
  } catch (const muster::Error& e) {
    std::fprintf(stderr, "%s: %s\n", e.kind(), e.what());
    return static_cast<int>(e.exit_code());
  } catch (const muster::FileError& e) {
    std::fprintf(stderr,
                 "CheckpointError: %s; check the path, the connection, AWS_ENDPOINT_URL and the "
                 "credentials\n",
                 e.what());
    return static_cast<int>(muster::ExitCode::kCheckpointError);
  } catch (const std::exception& e) {
    std::fprintf(stderr, "InternalError: %s\n", e.what());
    return static_cast<int>(muster::ExitCode::kInternalError);
  }
}
