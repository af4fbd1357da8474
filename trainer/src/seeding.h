// Random streams as a function of where we are: nothing to save, nothing to get wrong on a resume.
#ifndef MUSTER_TRAINER_SRC_SEEDING_H_
#define MUSTER_TRAINER_SRC_SEEDING_H_

#include <c10/core/Device.h>

#include <cstdint>

namespace muster::internal {

/// What a stream is for; the numbers are part of the numerics version.
enum class StreamPurpose : std::uint64_t {
  kModelInit = 1,
  kMicroStep = 2,
  kEvaluation = 3,
  kFinish = 4
};

std::uint64_t stream_seed(std::uint64_t seed, StreamPurpose purpose, std::int64_t step = 0,
                          int logical_rank = 0, std::int64_t micro_step = 0);

/// Seeds LibTorch's default generators: that of the CPU, and that of `device`.
void seed_default_generators(std::uint64_t seed, at::Device device);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_SEEDING_H_
