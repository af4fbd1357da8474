// Memory that direct I/O takes.
#ifndef MUSTER_CHECKPOINT_SRC_ALIGNED_MEMORY_H_
#define MUSTER_CHECKPOINT_SRC_ALIGNED_MEMORY_H_

#include <cstddef>
#include <memory>

namespace muster::checkpoint::internal {

/// Pages, huge ones where the system has them. Throws CheckpointError where there is no memory.
class AlignedMemory {
 public:
  AlignedMemory() = default;
  explicit AlignedMemory(std::size_t bytes);

  std::byte* data() const { return data_.get(); }
  std::size_t bytes() const { return bytes_; }

 private:
  struct Free {
    std::size_t bytes;
    void operator()(std::byte* data) const;
  };
  std::unique_ptr<std::byte, Free> data_{nullptr, Free{0}};
  std::size_t bytes_ = 0;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_ALIGNED_MEMORY_H_
