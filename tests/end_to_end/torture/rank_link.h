// Text between the writer processes of one run: rank 0 has a line to each of the others.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_RANK_LINK_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_RANK_LINK_H_

#include <exception>
#include <string>
#include <vector>

namespace muster::testing {

/// The process at the other end is gone.
class PeerGone : public std::exception {
 public:
  const char* what() const noexcept override { return "another process of the run is gone"; }
};

class RankLink {
 public:
  /// Forks `world_size` - 1 processes; returns in each with its own end. Before any thread.
  static RankLink fork_ranks(int world_size);
  RankLink(RankLink&& other) noexcept = default;
  RankLink(const RankLink&) = delete;
  ~RankLink();

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }

  /// Every rank gives its text; at rank 0 they come back by rank, elsewhere nothing does.
  std::vector<std::string> gather(const std::string& text);
  /// Rank 0's text, at every rank.
  std::string broadcast(const std::string& text);
  /// Rank 0: waits for the others to end; the first exit code that is not 0.
  int join();

 private:
  RankLink(int rank, int world_size) : rank_(rank), world_size_(world_size) {}

  int rank_;
  int world_size_;
  std::vector<int> lines_;  // rank 0: to 1, 2, ...; else one, to rank 0
  std::vector<int> children_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_RANK_LINK_H_
