// Jobs.
#include "job.h"

#include <signal.h>

#include <algorithm>
#include <fstream>
#include <sstream>

#include "muster/base/env.h"
#include "muster/checkpoint/checkpoint.h"

namespace muster::testing {
namespace fs = std::filesystem;

namespace {

std::string read_text(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

}  // namespace

Job::Job(const std::string& program, std::vector<std::string> options)
    : program_(fs::path(program).is_absolute() ? program
                                               : (fs::path(MUSTER_BIN_DIR) / program).string()),
      options_(std::move(options)) {}

std::unique_ptr<Program> Job::start(int world_size, std::vector<std::string> launcher_options,
                                    std::vector<std::string> options,
                                    const Environment& environment) {
  std::vector<std::string> words = {
      std::string(MUSTER_BIN_DIR) + "/muster", "run", "-n", std::to_string(world_size), "--log-dir",
      (directory() / "logs").string()};
  words.insert(words.end(), launcher_options.begin(), launcher_options.end());
  words.push_back("--");
  const std::vector<std::string> program = program_words(options);
  words.insert(words.end(), program.begin(), program.end());
  fs::remove(directory() / "logs" / "run.json");
  return std::make_unique<Program>(words, directory(), environment);
}

std::vector<std::string> Job::program_words(const std::vector<std::string>& options) const {
  std::vector<std::string> words{program_};
  words.insert(words.end(), options_.begin(), options_.end());
  words.insert(words.end(), options.begin(), options.end());
  words.insert(words.end(), {"--checkpoint-dir", checkpoints().string()});
  return words;
}

std::unique_ptr<Program> Job::start_alone() {
  return std::make_unique<Program>(program_words(), directory());
}

ProgramResult Job::run(int world_size, std::vector<std::string> launcher_options,
                       std::vector<std::string> options, const Environment& environment) {
  return start(world_size, std::move(launcher_options), std::move(options), environment)->wait();
}

Json Job::run_file() const {
  return Json::parse(read_text(directory() / "logs" / "run.json"), nullptr,
                     /*allow_exceptions=*/false);
}

std::int64_t Job::step() const {
  const Json run = run_file();
  return run.is_object() ? run.value("step", std::int64_t{0}) : 0;
}

pid_t Job::rank_pid(int rank) const {
  const Json run = run_file();
  if (!run.is_object()) return -1;
  const Json& ranks = run.at("ranks");
  return static_cast<std::size_t>(rank) < ranks.size()
             ? ranks[static_cast<std::size_t>(rank)].at("pid").get<pid_t>()
             : -1;
}

bool Job::signal_rank(int rank, int number) const {
  const pid_t pid = rank_pid(rank);
  return pid > 0 && kill(pid, number) == 0;
}

std::vector<fs::path> Job::checkpoint_paths() const {
  std::vector<fs::path> paths;
  if (!fs::exists(checkpoints())) return paths;
  for (const auto& entry : fs::directory_iterator(checkpoints())) {
    const std::string name = entry.path().filename();
    if (name.size() == 13 && name.rfind("step-", 0) == 0) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  return paths;
}

std::vector<std::string> Job::checkpoint_names() const {
  std::vector<std::string> names;
  for (const std::filesystem::path& path : checkpoint_paths()) names.push_back(path.filename());
  return names;
}

std::string Job::state_hash() const {
  const auto env = make_system_env();
  return checkpoint::Checkpoint::open(checkpoint_paths().back(), *env).state_hash();
}

std::string Job::metrics() const { return read_text(checkpoints() / "metrics.jsonl"); }

std::vector<std::string> fashion_mnist_options(int steps) {
  return {"--data",
          MUSTER_FASHION_MNIST_DIR,
          "--logical-ranks",
          "4",
          "--micro-batch",
          "8",
          "--steps",
          std::to_string(steps),
          "--learning-rate",
          "0.001",
          "--checkpoint-every",
          "5",
          "--clip-norm",
          "1.0"};
}

std::vector<std::string> char_gpt_options(int steps) {
  return {"--data",
          MUSTER_SHAKESPEARE_DIR,
          "--logical-ranks",
          "4",
          "--micro-batch",
          "2",
          "--width",
          "32",
          "--layers",
          "2",
          "--context",
          "32",
          "--steps",
          std::to_string(steps),
          "--checkpoint-every",
          "5",
          "--eval-batch",
          "64"};
}

}  // namespace muster::testing
