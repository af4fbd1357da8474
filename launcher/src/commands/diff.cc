// muster diff
#include "muster/checkpoint/diff.h"

#include <algorithm>
#include <cstdio>

#include "commands/checkpoint_path.h"
#include "commands/command.h"
#include "commands/words.h"
#include "muster/base/env.h"
#include "muster/base/json.h"

namespace muster::launcher {
namespace {

using checkpoint::Checkpoint;
using checkpoint::DifferenceKind;
using checkpoint::DiffResult;
using checkpoint::TensorDifference;

constexpr std::size_t kMaxNamed = 10;

std::string distance_text(const checkpoint::Distance& distance) {
  char text[96];
  std::snprintf(text, sizeof(text), ", by at most %.9g (relative %.3g)", distance.absolute,
                distance.relative);
  std::string result = text;
  if (distance.not_comparable > 0) {
    result += ", and " + std::to_string(distance.not_comparable) + " by NaN or infinity";
  }
  return result;
}

void print_tensors(const DiffResult& result, std::size_t most) {
  const std::size_t named = std::min(most, result.tensors.size());
  for (std::size_t i = 0; i < named; ++i) {
    const TensorDifference& one = result.tensors[i];
    std::printf("  %s%s\n", one.message.c_str(),
                one.kind == DifferenceKind::kBits ? distance_text(one.distance).c_str() : "");
  }
  if (named < result.tensors.size()) {
    std::printf("  and %zu tensors more (--all names them)\n", result.tensors.size() - named);
  }
}

const char* kind_name(DifferenceKind kind) {
  switch (kind) {
    case DifferenceKind::kOnlyInFirst:
      return "only_in_first";
    case DifferenceKind::kOnlyInSecond:
      return "only_in_second";
    case DifferenceKind::kDtype:
      return "dtype";
    case DifferenceKind::kShape:
      return "shape";
    case DifferenceKind::kBits:
      break;
  }
  return "bits";
}

Json diff_json(const DiffResult& result, const std::string& a, const std::string& b) {
  Json tensors = Json::array();
  for (const TensorDifference& one : result.tensors) {
    Json json = {{"name", one.tensor}, {"kind", kind_name(one.kind)}};
    if (one.kind == DifferenceKind::kBits) {
      json["differing_elements"] = one.differing_elements;
      json["first_element"] = one.first_element;
      json["max_absolute"] = one.distance.absolute;
      json["max_relative"] = one.distance.relative;
      json["not_comparable"] = one.distance.not_comparable;
    }
    tensors.push_back(std::move(json));
  }
  return {{"first", a},
          {"second", b},
          {"equal", result.equal()},
          {"compared_tensors", result.compared_tensors},
          {"tensors", tensors},
          {"progress", result.progress}};
}

void print_result(const DiffResult& result, const std::string& a, const std::string& b, bool all) {
  std::printf("%s against %s: ", a.c_str(), b.c_str());
  if (result.equal()) {
    std::printf("equal, all bits of %lld tensors\n",
                static_cast<long long>(result.compared_tensors));
    return;
  }
  std::printf("different in %zu tensors\n", result.tensors.size());
  print_tensors(result, all ? result.tensors.size() : kMaxNamed);
  for (const std::string& line : result.progress) std::printf("  %s\n", line.c_str());
}

int compare(const Checkpoint& a, const Checkpoint& b, const ParsedWords& parsed) {
  const DiffResult result = checkpoint::diff(a, b);
  if (parsed.switches.contains("--json")) {
    std::printf("%s\n", diff_json(result, a.directory(), b.directory()).dump(2).c_str());
  } else {
    print_result(result, a.directory(), b.directory(), parsed.switches.contains("--all"));
  }
  return result.equal() ? 0 : 1;
}

}  // namespace

int diff_command(const Words& words) {
  if (wants_help(words)) {
    std::fputs(diff_command_help().c_str(), stdout);
    return 0;
  }
  const ParsedWords parsed = take_words(words, "diff", {"--all", "--json"}, 2, 2);
  const auto env = make_system_env();
  return with_newest_at(parsed.operands[0], "diff", *env, [&](const Checkpoint& a) {
    return with_newest_at(parsed.operands[1], "diff", *env,
                          [&](const Checkpoint& b) { return compare(a, b, parsed); });
  });
}

std::string diff_command_help() {
  return "usage: muster diff A B [--all] [--json]\n"
         "Compares two checkpoints bit by bit, whatever world sizes wrote them, and names the "
         "first tensors that\n"
         "differ, with how many elements and the largest absolute and relative difference. A and B "
         "are checkpoints,\n"
         "or directories of them: then the newest. Leaves with 0 when they are equal and with 1 "
         "when not.\n"
         "  --all    name every tensor that differs\n"
         "  --json   as one JSON object, with every tensor\n";
}

}  // namespace muster::launcher
