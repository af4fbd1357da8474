// A run that is ended again and again: what it acknowledged is remembered, and looked for after
// each blow.
#ifndef MUSTER_TESTS_END_TO_END_TORTURE_TORTURE_RUN_H_
#define MUSTER_TESTS_END_TO_END_TORTURE_TORTURE_RUN_H_

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "life.h"
#include "made_up_state.h"

namespace muster::testing {

/// The number in this environment variable; `otherwise` where it is not set.
std::int64_t torture_setting(const char* name, std::int64_t otherwise);
std::uint64_t torture_seed();

class TortureRun {
 public:
  /// Checkpoints of about `kilobytes` in `directory`.
  TortureRun(std::filesystem::path directory, std::uint64_t seed, std::int64_t kilobytes);

  /// The next life, with the next generation. `more` are checkpoint_run's arguments.
  std::unique_ptr<Life> start(int ranks, const std::vector<std::string>& more = {});
  /// After a life: it restored what was acknowledged before, and its own acknowledgements count
  /// from now on.
  void remember(const Life& life, const std::string& what);
  /// What the next run would restore, as it would: at least the last acknowledged step, with the
  /// hash that this step must have. No directory bears a checkpoint's name and is none. Where the
  /// disk failed to deliver (`may_be_damaged`) one may have been set aside, and is removed.
  void check(const std::string& what, bool may_be_damaged = false);

  std::int64_t acknowledged() const { return acknowledged_; }
  /// All of them, over all lives.
  std::int64_t acknowledgements() const { return acknowledgements_; }
  const std::filesystem::path& directory() const { return directory_; }

 private:
  const std::string& hash_of(std::int64_t step);

  std::filesystem::path directory_;
  std::uint64_t seed_;
  std::int64_t kilobytes_;
  MadeUpState state_;
  std::map<std::int64_t, std::string> hashes_;
  int generation_ = 0;
  std::int64_t acknowledged_ = 0;
  std::int64_t acknowledgements_ = 0;
};

/// One crash point of one rank, to be struck.
struct PlannedCrash {
  int rank = 0;
  std::string name;
  int occurrence = 1;
  bool half_way = false;

  std::string argument(const std::string& blow) const;
};

/// Every point that a life of these arguments passes, each write also half-way: of a point passed
/// more than `most` times the first and the last ones. Runs that life.
std::vector<PlannedCrash> planned_crashes(TortureRun& run, int ranks,
                                          const std::vector<std::string>& arguments, int most);

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_TORTURE_TORTURE_RUN_H_
