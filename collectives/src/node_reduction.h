// What of a reduction's plan each node can do alone, so that fewer values travel between nodes.
// Pure.
#ifndef MUSTER_COLLECTIVES_SRC_NODE_REDUCTION_H_
#define MUSTER_COLLECTIVES_SRC_NODE_REDUCTION_H_

#include <vector>

#include "reduce_kernels.h"

namespace muster::internal {

/// Which ranks are on which node.
class NodeLayout {
 public:
  /// Element r: the lowest rank on the node of rank r.
  explicit NodeLayout(const std::vector<int>& first_ranks);

  int world_size() const { return static_cast<int>(places_.size()); }
  int nodes() const { return static_cast<int>(ranks_.size()); }
  /// Nodes are numbered in the order of their lowest ranks.
  int node_of(int rank) const { return places_[static_cast<std::size_t>(rank)].node; }
  /// The rank's place among the ranks of its node.
  int local_rank_of(int rank) const { return places_[static_cast<std::size_t>(rank)].local_rank; }
  /// In ascending order.
  const std::vector<int>& ranks_of(int node) const {
    return ranks_[static_cast<std::size_t>(node)];
  }
  /// The rank of `node` that deals with what concerns rank `owner`: itself when it is there, else
  /// one of the node's ranks in turn.
  int in_charge(int node, int owner) const;
  /// Of a part of the ranks: its rank r is rank `part`[r] here.
  NodeLayout of_part(const std::vector<int>& part) const;

 private:
  struct Place {
    int node;
    int local_rank;
  };

  std::vector<Place> places_;
  std::vector<std::vector<int>> ranks_;
};

/// A value that a node makes of sources of its own ranks.
struct NodePartial {
  std::vector<int> sources;  ///< Of the whole plan.
  ReducePlan plan;           ///< Over these; without additions it is the only source as it stands.
};

/// What the final combination takes: source `index` of the whole plan where `node` is the own node,
/// else partial `index` of that node.
struct NodeInput {
  int node = 0;
  int index = 0;
};

/// A reduction as a node takes part in it.
struct NodeReduction {
  /// What the node gives to ranks of other nodes.
  std::vector<NodePartial> partials;
  /// What a rank of the node makes the result of, and how.
  std::vector<NodeInput> inputs;
  ReducePlan final_plan;
};

/// Two values are combined within a node when the plan combines them and both are made of that
/// node's sources alone: the result has the bits of `plan`. Values that the plan holds in more bits
/// than a source has (sums and products of 16-bit floats) are combined in the end alone.
/// Element s of `node_of_source`: the node that has source s.
NodeReduction reduce_by_nodes(const ReducePlan& plan, const std::vector<int>& node_of_source,
                              int own_node);

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_NODE_REDUCTION_H_
