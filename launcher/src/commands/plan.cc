// muster plan
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "commands/command.h"
#include "commands/words.h"
#include "doctor/gather.h"
#include "doctor/system_view.h"
#include "muster/base/error.h"
#include "muster/base/json.h"

namespace muster::launcher {
namespace {

[[noreturn]] void refuse(const std::string& text) {
  throw ConfigError("muster plan: " + text + "; see muster help plan");
}

template <typename Number>
Number number_of(const std::string& flag, const std::string& text) {
  Number number{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  if (error != std::errc() || end != text.data() + text.size() || !(number > 0)) {
    refuse(flag + ": expected a number above 0, found '" + text + "'");
  }
  return number;
}

std::vector<int> sizes_of(const std::string& text) {
  std::vector<int> sizes;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    sizes.push_back(number_of<int>("--world-sizes", text.substr(begin, end - begin)));
    begin = end + 1;
  }
  return sizes;
}

std::int64_t bytes_of_gib(double gib) {
  if (!(gib < 1e9)) refuse("--memory-gib: expected less than 1e9");
  return static_cast<std::int64_t>(std::llround(gib * (1 << 30)));
}

/// Does not return when the program can be started.
[[noreturn]] void become(const Words& program) {
  std::vector<char*> argv;
  for (const std::string& word : program) argv.push_back(const_cast<char*>(word.c_str()));
  argv.push_back(nullptr);
  execvp(argv[0], argv.data());
  throw ConfigError("muster plan: expected a program to run, found '" + program[0] +
                    "': " + std::strerror(errno));
}

}  // namespace

int plan_command(const Words& words) {
  const auto dashes = std::find(words.begin(), words.end(), "--");
  const Words flags(words.begin(), dashes);
  if (wants_help(flags)) {
    std::fputs(plan_command_help().c_str(), stdout);
    return 0;
  }
  const ParsedWords parsed = take_words(flags, "plan", {}, 0, 0, {"--world-sizes", "--memory-gib"});
  if (dashes == words.end() || dashes + 1 == words.end()) {
    refuse("expected a program after --, found none");
  }
  Json request = {{"world_sizes", std::vector<int>{}}};
  if (const auto sizes = parsed.values.find("--world-sizes"); sizes != parsed.values.end()) {
    request["world_sizes"] = sizes_of(sizes->second);
  }
  const auto gib = parsed.values.find("--memory-gib");
  request["memory_bytes"] = gib != parsed.values.end()
                                ? bytes_of_gib(number_of<double>("--memory-gib", gib->second))
                                : doctor::gather_memory(doctor::SystemView()).usable_bytes();
  setenv("MUSTER_PLAN", request.dump().c_str(), /*overwrite=*/1);
  become(Words(dashes + 1, words.end()));
}

std::string plan_command_help() {
  return "usage: muster plan [--world-sizes N,N...] [--memory-gib G] -- PROGRAM [ARGUMENTS]\n"
         "Says how much memory a rank of PROGRAM, with these arguments, would need at each world "
         "size and ZeRO\n"
         "stage, and which of them fit. Parameters, gradients and optimizer state are counted; "
         "activations are\n"
         "measured on one micro-batch. Nothing is trained or written.\n"
         "  --world-sizes N,N...  by default 1, 2, 4 ... to the number of logical ranks\n"
         "  --memory-gib G        memory of a machine for the job; by default what this one has "
         "left\n";
}

}  // namespace muster::launcher
