// Which checkpoints to keep: a pure rule over step numbers.
#ifndef MUSTER_CHECKPOINT_RETENTION_H_
#define MUSTER_CHECKPOINT_RETENTION_H_

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace muster::checkpoint {

struct Retention {
  int keep_last = 3;  ///< The newest this many; at least 1.
  std::int64_t keep_every =
      0;  ///< And every step that is a multiple of this; 0: none for this reason.
  std::optional<std::int64_t> keep_step = std::nullopt;  ///< And this one: the best so far, say.

  /// Throws ConfigError naming all options that are out of bounds.
  void validate() const;
};

/// The steps that `retention` gives up, ascending. `steps` in any order. Pure.
std::vector<std::int64_t> expired_steps(const Retention& retention,
                                        std::span<const std::int64_t> steps);

}  // namespace muster::checkpoint

#endif  // MUSTER_CHECKPOINT_RETENTION_H_
