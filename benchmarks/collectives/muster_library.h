// Muster's own collectives, as the benchmark sees them.
#ifndef MUSTER_BENCHMARKS_COLLECTIVES_MUSTER_LIBRARY_H_
#define MUSTER_BENCHMARKS_COLLECTIVES_MUSTER_LIBRARY_H_

#include "library.h"
#include "muster/collectives/world.h"

namespace muster::bench {

class MusterLibrary : public Library {
 public:
  /// `world` must outlive it.
  explicit MusterLibrary(World& world);

  std::string name() const override { return "muster"; }
  std::string transport() const override { return world_.transport(); }
  at::Tensor allocate(const std::string& memory, std::int64_t bytes) override;
  std::function<void()> bind(const CaseName& name, const Buffers& buffers) override;
  void barrier() override;
  void maximize(std::span<double> values) override;

 private:
  World& world_;
};

}  // namespace muster::bench

#endif  // MUSTER_BENCHMARKS_COLLECTIVES_MUSTER_LIBRARY_H_
