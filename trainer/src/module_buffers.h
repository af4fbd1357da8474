// A module's buffers (batch-norm statistics): each logical rank starts a step from the same ones,
// and logical rank 0's result stays.
#ifndef MUSTER_TRAINER_SRC_MODULE_BUFFERS_H_
#define MUSTER_TRAINER_SRC_MODULE_BUFFERS_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "muster/collectives/communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

class ModuleBuffers {
 public:
  /// Buffers of any dtype, contiguous, on `device`.
  ModuleBuffers(std::vector<std::pair<std::string, at::Tensor>> buffers, at::Device device);

  const std::vector<std::pair<std::string, at::Tensor>>& named() const { return buffers_; }

  /// Abandons the step before, where that has not ended.
  void begin_step();
  void begin_logical_rank();
  /// Keeps the buffers as they are now: they are logical rank 0's.
  void keep();
  /// Collective, by a communicator for the device. Issues the broadcast of what rank 0 kept.
  void publish(Communicator& communicator);
  /// Blocks until every rank has it, and makes it the buffers' values.
  void finish_step();
  /// Where a step is under way: the buffers are again what they were when it began. Blocks until
  /// what was published is not needed any more.
  void abandon_step();
  /// They have been given new values, which no step's end or abandonment takes back.
  void changed() { in_step_ = false; }

 private:
  // Both throw UserError for a buffer whose size or layout was changed.
  void pack(const at::Tensor& bytes) const;
  void unpack(const at::Tensor& bytes);

  std::vector<std::pair<std::string, at::Tensor>> buffers_;
  std::vector<std::int64_t> sizes_bytes_;
  at::Tensor start_;  // uint8, all buffers end to end: their values when the step began
  at::Tensor kept_;
  std::optional<Work> published_;
  bool in_step_ = false;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_MODULE_BUFFERS_H_
