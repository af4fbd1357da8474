// Addresses for parameters whose memory comes and goes.
#ifndef MUSTER_TRAINER_SRC_UNIT_MEMORY_H_
#define MUSTER_TRAINER_SRC_UNIT_MEMORY_H_

#include <ATen/core/ScalarType.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "flat_layout.h"

namespace muster::internal {

/// Room for the units of a flat space, one behind the other, each from a page of its own on: so
/// that one can have memory while its neighbours have none. Places are counted in elements.
class UnitMemory {
 public:
  /// Addresses only. Throws ConfigError where there are not enough.
  UnitMemory(const std::vector<Unit>& units, c10::ScalarType dtype);
  ~UnitMemory();
  UnitMemory(const UnitMemory&) = delete;
  UnitMemory& operator=(const UnitMemory&) = delete;

  void* data() const { return data_; }
  std::int64_t numel() const;

  /// Where element `flat` of the flat space, of `unit`, lies; and the other way.
  std::int64_t place_of(std::size_t unit, std::int64_t flat) const;
  std::int64_t flat_of(std::size_t unit, std::int64_t place) const;
  /// The unit of a place, or the one before it.
  std::size_t unit_at(std::int64_t place) const;

  /// The unit has memory from here on; what it holds is for the caller to say.
  void open(std::size_t unit) const;
  /// What reads it now, past LibTorch's operations, ends by SIGSEGV instead of reading zeros.
  void close(std::size_t unit) const noexcept;

 private:
  struct Pages {
    std::byte* begin;
    std::size_t bytes;
  };
  Pages pages_of(std::size_t unit) const;

  const std::size_t element_bytes_;
  std::vector<std::int64_t> flat_begins_;   // by unit
  std::vector<std::int64_t> place_begins_;  // by unit, and the end of all
  std::byte* data_ = nullptr;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_UNIT_MEMORY_H_
