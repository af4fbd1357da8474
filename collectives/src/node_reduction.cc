// From a list of additions to the tree they make, and back to lists for parts of it.
#include "node_reduction.h"

#include <algorithm>
#include <functional>
#include <map>

#include "muster/base/check.h"

namespace muster::internal {
namespace {

constexpr int kSeveralNodes = -1;

// One value of the plan's evaluation. Sources have no operands.
struct Value {
  int node = kSeveralNodes;  // the only one whose sources it is made of
  int left = -1;
  int right = -1;
};

bool keeps_more_bits(const ReducePlan& plan) {
  const bool half = plan.dtype == DType::kFloat16 || plan.dtype == DType::kBFloat16;
  return half && (plan.combine == Combine::kSum || plan.combine == Combine::kProduct);
}

// The sources come first, the result is the last. Additions reuse the places of values that are not
// needed any more, values here do not.
std::vector<Value> values_of(const ReducePlan& plan, const std::vector<int>& node_of_source) {
  std::vector<Value> values;
  std::vector<int> value_at(2 * static_cast<std::size_t>(plan.sources));
  for (const int node : node_of_source) {
    value_at[values.size()] = static_cast<int>(values.size());
    values.push_back({node});
  }
  const bool apart = keeps_more_bits(plan);
  for (const Addition& addition : plan.additions) {
    Value value{kSeveralNodes, value_at[static_cast<std::size_t>(addition.left)],
                value_at[static_cast<std::size_t>(addition.right)]};
    const int left_node = values[static_cast<std::size_t>(value.left)].node;
    const int right_node = values[static_cast<std::size_t>(value.right)].node;
    if (left_node == right_node && !apart) value.node = left_node;
    value_at[static_cast<std::size_t>(addition.into)] = static_cast<int>(values.size());
    values.push_back(value);
  }
  return values;
}

// Cuts the tree of one value at what is given, and lists the additions above the cut. An
// intermediate value takes the lowest place that no live one has, as in ReductionTree::schedule().
class Cut {
 public:
  Cut(const std::vector<Value>& values, std::function<bool(const Value&)> is_given)
      : values_(values), is_given_(std::move(is_given)) {}

  /// The given values under `root`, in order.
  std::vector<int> given(int root) const {
    std::vector<int> found;
    collect(root, found);
    return found;
  }

  std::vector<Addition> additions(int root) const {
    int next_given = 0;
    std::vector<Addition> list;
    build(root, static_cast<int>(given(root).size()), 0, next_given, list);
    return list;
  }

 private:
  const Value& at(int value) const { return values_[static_cast<std::size_t>(value)]; }
  bool ends_at(int value) const { return at(value).left < 0 || is_given_(at(value)); }

  void collect(int value, std::vector<int>& found) const {
    if (ends_at(value)) {
      found.push_back(value);
      return;
    }
    collect(at(value).left, found);
    collect(at(value).right, found);
  }

  int build(int value, int givens, int free_place, int& next_given,
            std::vector<Addition>& list) const {
    if (ends_at(value)) return next_given++;
    const int left = build(at(value).left, givens, free_place, next_given, list);
    const int right =
        build(at(value).right, givens, free_place + (left >= givens ? 1 : 0), next_given, list);
    list.push_back({left, right, givens + free_place});
    return list.back().into;
  }

  const std::vector<Value>& values_;
  const std::function<bool(const Value&)> is_given_;
};

ReducePlan plan_like(const ReducePlan& whole, std::vector<Addition> additions, int divisor) {
  const int sources = static_cast<int>(additions.size()) + 1;
  return {whole.combine, whole.dtype, sources, std::move(additions), divisor};
}

}  // namespace

NodeLayout::NodeLayout(const std::vector<int>& first_ranks) {
  std::map<int, std::vector<int>> by_first_rank;
  for (std::size_t r = 0; r < first_ranks.size(); ++r) {
    by_first_rank[first_ranks[r]].push_back(static_cast<int>(r));
  }
  places_.resize(first_ranks.size());
  for (const auto& [first_rank, ranks] : by_first_rank) {
    for (std::size_t i = 0; i < ranks.size(); ++i) {
      places_[static_cast<std::size_t>(ranks[i])] = {nodes(), static_cast<int>(i)};
    }
    ranks_.push_back(ranks);
  }
}

int NodeLayout::in_charge(int node, int owner) const {
  if (node_of(owner) == node) return owner;
  const std::vector<int>& ranks = ranks_of(node);
  return ranks[static_cast<std::size_t>(local_rank_of(owner)) % ranks.size()];
}

NodeLayout NodeLayout::of_part(const std::vector<int>& part) const {
  std::vector<int> first_ranks;
  for (const int rank : part) {
    const auto first = std::find_if(part.begin(), part.end(),
                                    [&](int other) { return node_of(other) == node_of(rank); });
    first_ranks.push_back(static_cast<int>(first - part.begin()));
  }
  return NodeLayout(first_ranks);
}

NodeReduction reduce_by_nodes(const ReducePlan& plan, const std::vector<int>& node_of_source,
                              int own_node) {
  MUSTER_CHECK_EQ(node_of_source.size(), plan.sources);
  const std::vector<Value> values = values_of(plan, node_of_source);
  const int result = static_cast<int>(values.size()) - 1;
  const Cut into_partials(values, [](const Value& value) { return value.node != kSeveralNodes; });
  const Cut into_sources(values, [](const Value&) { return false; });
  const Cut of_own_node(values, [own_node](const Value& value) {
    return value.node != kSeveralNodes && value.node != own_node;
  });
  NodeReduction reduction;
  std::map<int, int> index_of;  // of a partial's value among those of its node
  std::map<int, int> partials_of_node;
  for (const int value : into_partials.given(result)) {
    const int node = values[static_cast<std::size_t>(value)].node;
    index_of[value] = partials_of_node[node]++;
    if (node != own_node) continue;
    reduction.partials.push_back(
        {into_sources.given(value), plan_like(plan, into_sources.additions(value), 1)});
  }
  for (const int value : of_own_node.given(result)) {
    const int node = values[static_cast<std::size_t>(value)].node;
    reduction.inputs.push_back({node, node == own_node ? value : index_of.at(value)});
  }
  reduction.final_plan = plan_like(plan, of_own_node.additions(result), plan.divisor);
  return reduction;
}

}  // namespace muster::internal
