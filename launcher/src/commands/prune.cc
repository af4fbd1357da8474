// muster prune
#include <charconv>
#include <cstdio>
#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "commands/command.h"
#include "commands/run_listing.h"
#include "commands/sibling_program.h"
#include "commands/store_commands.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/checkpoint_store.h"
#include "muster/checkpoint/directory_lock.h"
#include "muster/checkpoint/retention.h"

namespace muster::launcher {
namespace {

using checkpoint::CheckpointStore;
using checkpoint::Retention;

struct PruneRequest {
  std::string directory;
  Retention retention;
  std::string metric;  ///< Of --keep-best; "" is the run's own.
  bool deletes = false;
};

template <typename Number>
Number number_of(const ParsedWords& parsed, const std::string& flag, Number otherwise) {
  const auto found = parsed.values.find(flag);
  if (found == parsed.values.end()) return otherwise;
  const std::string& text = found->second;
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || number < 0) {
    throw ConfigError("muster prune: " + flag + ": expected a whole number, found '" + text + "'");
  }
  return number;
}

PruneRequest parse(const Words& words) {
  const ParsedWords parsed = take_words(words, "prune", {"--delete", "--dry-run"}, 1, 1,
                                        {"--keep", "--keep-every", "--keep-best", "--score"});
  PruneRequest request;
  request.directory = parsed.operands[0];
  request.deletes = parsed.switches.contains("--delete");
  if (request.deletes && parsed.switches.contains("--dry-run"))
    throw ConfigError("muster prune: expected --delete or --dry-run, found both");
  if (!parsed.values.contains("--keep"))
    throw ConfigError(
        "muster prune: expected --keep K, the newest checkpoints to keep; found none");
  request.retention.keep_last = number_of(parsed, "--keep", 0);
  request.retention.keep_every = number_of<std::int64_t>(parsed, "--keep-every", 0);
  request.retention.keep_best = number_of(parsed, "--keep-best", 0);
  if (const auto score = parsed.values.find("--score"); score != parsed.values.end()) {
    const std::string& text = score->second;
    request.retention.larger_is_better = text.starts_with("max:");
    if ((!text.starts_with("max:") && !text.starts_with("min:")) || text.size() == 4)
      throw ConfigError("muster prune: --score: expected max:METRIC or min:METRIC, found '" + text +
                        "'");
    request.metric = text.substr(4);
  } else if (request.retention.keep_best > 0) {
    throw ConfigError("muster prune: expected --score max:METRIC or min:METRIC beside --keep-best");
  }
  request.retention.validate();
  return request;
}

struct Plan {
  std::vector<checkpoint::Verdict> verdicts;
  std::map<std::int64_t, ListedCheckpoint> listed;  ///< The complete ones.

  std::vector<std::int64_t> expired() const { return checkpoint::expired_steps(verdicts); }
};

/// Only complete checkpoints are counted, and only they are given up.
Plan make_plan(PruneRequest request, Env& env) {
  Plan plan;
  std::vector<checkpoint::Candidate> candidates;
  for (ListedCheckpoint& one : list_run(request.directory, request.metric, env)) {
    if (one.state != "complete") continue;
    candidates.push_back({.step = one.step, .score = one.score});
    if (one.best) request.retention.keep_step = one.step;
    plan.listed.emplace(one.step, std::move(one));
  }
  plan.verdicts = checkpoint::judge(request.retention, candidates);
  return plan;
}

void print(const Plan& plan) {
  for (const checkpoint::Verdict& verdict : plan.verdicts) {
    const ListedCheckpoint& one = plan.listed.at(verdict.step);
    std::printf("%s %s", verdict.kept() ? "keep  " : "delete", one.path.c_str());
    if (one.score) std::printf("  %s %.6g", one.metric.c_str(), *one.score);
    if (verdict.kept()) std::printf("  (%s)", verdict.reason.c_str());
    std::printf("\n");
  }
}

/// What is deleted is decided again once the newest checkpoint's bytes were found right: a damaged
/// one is set aside and counts no more. A run that lives may still need any: it is not touched.
void prune(const PruneRequest& request, Env& env) {
  std::optional<checkpoint::DirectoryLock> lock;
  if (!is_store_url(request.directory)) lock.emplace(request.directory).take();
  const CheckpointStore store(request.directory, env);
  const auto newest = store.newest_valid();
  if (!newest) {
    throw CheckpointError(request.directory +
                          ": expected a checkpoint whose bytes are all right, found none: nothing "
                          "is deleted; see muster verify");
  }
  const Plan plan = make_plan(request, env);
  std::vector<std::int64_t> expired = plan.expired();
  std::erase(expired, newest->manifest().step);
  print(plan);
  std::printf("%zu deleted\n", store.remove(expired).size());
}

}  // namespace

int prune_in(Env& env, const Words& words) {
  const PruneRequest request = parse(words);
  const Plan plan = make_plan(request, env);
  if (plan.listed.empty()) {
    throw ConfigError("muster prune: expected complete checkpoints, found none in '" +
                      request.directory + "'; see muster checkpoints");
  }
  if (request.deletes && !plan.expired().empty()) {
    prune(request, env);
    return 0;
  }
  print(plan);
  std::printf(plan.expired().empty() ? "nothing to delete\n"
                                     : "nothing deleted yet: give --delete to do it\n");
  return 0;
}

int prune_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(prune_command_help().c_str(), stdout);
    return 0;
  }
  leave_stores_to_sibling("prune", words);
  return prune_in(*make_system_env(), words);
}

std::string prune_command_help() {
  return "usage: muster prune RUN --keep K [--keep-every N] [--keep-best B --score max:METRIC] "
         "[--delete]\n"
         "Says which checkpoints of a run to delete and, with --delete, deletes them. A checkpoint "
         "is kept when any\n"
         "rule says so; the run's own best one is always kept. Before anything is deleted the "
         "newest is read byte by\n"
         "byte: the newest valid one is never deleted, a damaged one is set aside, and damaged "
         "ones are never deleted.\n"
         "On disk nothing is deleted while the run is being trained; a store has no lock that says "
         "so.\n"
         "  --keep K             the newest K\n"
         "  --keep-every N       steps that are multiples of N\n"
         "  --keep-best B        the B best by --score max:METRIC or min:METRIC, as the last "
         "evaluation before each\n"
         "                       said; of equal scores the older\n"
         "  --delete             do it\n"
         "  --dry-run            only say it, as without --delete\n";
}

}  // namespace muster::launcher
