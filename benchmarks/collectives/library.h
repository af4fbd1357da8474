// What is measured: one rank's end of a library of collectives.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_LIBRARY_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_LIBRARY_H_

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <span>
#include <string>

namespace muster::bench {

/// One row of the report, without its figures.
struct CaseName {
  std::string operation;
  std::string reduction;  ///< "" where nothing is reduced.
  std::string dtype;      ///< "float32", ...
  std::string memory;     ///< "symmetric" or "ordinary"
  std::string place;      ///< "in" or "out"

  bool operator==(const CaseName&) const = default;
  /// "all_reduce sum float32, symmetric memory, in place".
  std::string description() const;
};

/// The memory of one call. In place, the smaller of the two is this rank's share of the larger, or
/// both are one. Undefined where the operation has none.
struct Buffers {
  at::Tensor input;
  at::Tensor output;
};

/// Not thread-safe. Calls are collective unless stated otherwise.
class Library {
 public:
  virtual ~Library() = default;
  Library(const Library&) = delete;
  Library& operator=(const Library&) = delete;

  int rank() const { return rank_; }
  int world_size() const { return world_size_; }
  virtual std::string name() const = 0;       ///< "muster", "gloo", "open-mpi"; not collective.
  virtual std::string transport() const = 0;  ///< "shm", "mpi", "tcp"; not collective.

  /// Zeroed, uint8 [bytes]. Throws ConfigError when there is no such memory.
  virtual at::Tensor allocate(const std::string& memory, std::int64_t bytes) = 0;

  /// A function that makes the call and returns once its result is there. Throws ConfigError,
  /// saying what the library has instead, when it has no such call; then on all ranks. Not
  /// collective, but the function is.
  virtual std::function<void()> bind(const CaseName& name, const Buffers& buffers) = 0;

  virtual void barrier() = 0;
  /// Each value becomes its maximum over all ranks.
  virtual void maximize(std::span<double> values) = 0;

 protected:
  Library(int rank, int world_size) : rank_(rank), world_size_(world_size) {}

 private:
  int rank_;
  int world_size_;
};

/// "float32" and so on. Throws ConfigError naming the flag.
at::ScalarType scalar_type_of(const std::string& dtype);

/// Throws ConfigError "<library>: expected an operation that it has, found <description>;
/// <advice>".
[[noreturn]] void not_offered(const Library& library, const CaseName& name,
                              const std::string& advice);

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_LIBRARY_H_
