// How ranks agree on what each of them gives, while some die.
#ifndef MUSTER_COLLECTIVES_SRC_FLOOD_H_
#define MUSTER_COLLECTIVES_SRC_FLOOD_H_

#include <vector>

namespace muster::internal {

/// One rank's side of FloodSet (Lynch, Distributed Algorithms, 1996, section 6.2): in each round a
/// rank tells all others what it knows, its own gift at first, and hears each of them or finds it
/// dead. There is one round fewer than ranks: either one of them is without a death, and after it
/// all that are left know the same; or one rank is left.
class Flood {
 public:
  /// `gift` is positive.
  Flood(int ranks, int rank, int gift);

  bool ended() const { return rounds_left_ == 0; }

  /// Of this round: whom to tell, and what.
  const std::vector<int>& others() const { return others_; }
  const std::vector<int>& told() const { return told_; }

  /// One of others() told `known` in this round.
  void hear(const std::vector<int>& known);
  /// `rank` is dead and has not been heard in this round. Whatever it said comes too late.
  void lose(int rank);
  /// Each of others() has been heard or lost.
  void end_round();

  /// By rank; 0 of a rank that died too early. The same on all ranks that are left at the end.
  const std::vector<int>& gifts() const { return known_; }

 private:
  int rounds_left_;
  std::vector<int> known_;
  std::vector<int> told_;
  std::vector<int> others_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_FLOOD_H_
