// muster diff
#include "muster/checkpoint/diff.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/words.h"
#include "largest_difference.h"
#include "muster/base/env.h"

namespace muster::launcher {
namespace {

constexpr std::size_t kMaxNamed = 10;

void print_tensors(const checkpoint::DiffResult& result, const checkpoint::Checkpoint& a,
                   const checkpoint::Checkpoint& b) {
  const std::size_t named = std::min(kMaxNamed, result.tensors.size());
  for (std::size_t i = 0; i < named; ++i) {
    const checkpoint::TensorDifference& one = result.tensors[i];
    std::printf("  %s", one.message.c_str());
    if (one.kind == checkpoint::DifferenceKind::kBits) {
      const double largest = largest_difference(a, b, one.tensor);
      if (std::isnan(largest)) {
        std::printf(", by NaN or infinity");
      } else {
        std::printf(", by at most %.9g", largest);
      }
    }
    std::printf("\n");
  }
  if (named < result.tensors.size()) {
    std::printf("  and %zu tensors more\n", result.tensors.size() - named);
  }
}

}  // namespace

int diff_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(diff_command_help().c_str(), stdout);
    return 0;
  }
  const ParsedWords parsed = take_words(words, "diff", {}, 2, 2);
  const auto env = make_system_env();
  const checkpoint::Checkpoint a = open_newest_at(parsed.operands[0], "diff", *env);
  const checkpoint::Checkpoint b = open_newest_at(parsed.operands[1], "diff", *env);
  const checkpoint::DiffResult result = checkpoint::diff(a, b);
  std::printf("%s against %s: ", a.directory().c_str(), b.directory().c_str());
  if (result.equal()) {
    std::printf("equal, all bits of %lld tensors\n",
                static_cast<long long>(result.compared_tensors));
    return 0;
  }
  std::printf("different in %zu tensors\n", result.tensors.size());
  print_tensors(result, a, b);
  for (const std::string& line : result.progress) std::printf("  %s\n", line.c_str());
  return 1;
}

std::string diff_command_help() {
  return "usage: muster diff A B\n"
         "Compares two checkpoints bit by bit, whatever world sizes wrote them, and names the "
         "first tensors that\n"
         "differ, with how many elements and by how much at most. A and B are checkpoints, or "
         "directories of\n"
         "them: then the newest. Leaves with 0 when they are equal and with 1 when not.\n";
}

}  // namespace muster::launcher
