// Reserved addresses, and pages behind some of them.
#include "unit_memory.h"

#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <string>
#include <system_error>

#include "muster/base/error.h"

namespace muster::internal {

UnitMemory::UnitMemory(const std::vector<Unit>& units, c10::ScalarType dtype)
    : element_bytes_(c10::elementSize(dtype)) {
  const auto page =
      static_cast<std::int64_t>(static_cast<std::size_t>(sysconf(_SC_PAGESIZE)) / element_bytes_);
  std::int64_t end = 0;
  for (const Unit& unit : units) {
    flat_begins_.push_back(unit.range.begin);
    place_begins_.push_back(end);
    end += std::max<std::int64_t>(1, (unit.range.numel() + page - 1) / page) * page;
  }
  place_begins_.push_back(end);
  const std::size_t bytes = static_cast<std::size_t>(end) * element_bytes_;
  void* const data =
      mmap(nullptr, bytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (data == MAP_FAILED) {
    throw ConfigError("parameters: expected " + std::to_string(bytes) +
                      " bytes of addresses, found none: " + std::strerror(errno) +
                      "; raise the limit on the process's address space (ulimit -v)");
  }
  data_ = static_cast<std::byte*>(data);
}

UnitMemory::~UnitMemory() { munmap(data_, static_cast<std::size_t>(numel()) * element_bytes_); }

std::int64_t UnitMemory::numel() const { return place_begins_.back(); }

std::int64_t UnitMemory::place_of(std::size_t unit, std::int64_t flat) const {
  return place_begins_[unit] + flat - flat_begins_[unit];
}

std::int64_t UnitMemory::flat_of(std::size_t unit, std::int64_t place) const {
  return flat_begins_[unit] + place - place_begins_[unit];
}

std::size_t UnitMemory::unit_at(std::int64_t place) const {
  const auto after = std::upper_bound(place_begins_.begin(), place_begins_.end() - 1, place);
  return static_cast<std::size_t>(after - place_begins_.begin()) - 1;
}

UnitMemory::Pages UnitMemory::pages_of(std::size_t unit) const {
  const auto begin = static_cast<std::size_t>(place_begins_[unit]) * element_bytes_;
  const auto end = static_cast<std::size_t>(place_begins_[unit + 1]) * element_bytes_;
  return {data_ + begin, end - begin};
}

void UnitMemory::open(std::size_t unit) const {
  const Pages pages = pages_of(unit);
  if (mprotect(pages.begin, pages.bytes, PROT_READ | PROT_WRITE) == 0) return;
  throw std::system_error(errno, std::generic_category(), "parameters: memory for a unit");
}

void UnitMemory::close(std::size_t unit) const noexcept {
  const Pages pages = pages_of(unit);
  madvise(pages.begin, pages.bytes, MADV_DONTNEED);
  mprotect(pages.begin, pages.bytes, PROT_NONE);
}

}  // namespace muster::internal
