// A world of one rank: every operation works on the caller's tensors alone.
#ifndef MUSTER_COLLECTIVES_SRC_SINGLE_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_SINGLE_TRANSPORT_H_

#include "transport.h"

namespace muster::internal {

class SingleTransport : public Transport {
 public:
  void run(const OperationRun& run) override;
  void greet(const OperationRun& run) override;
  std::unique_ptr<Transfer> start_transfer(const OperationRun& run) override;
  void give_up(const std::exception_ptr&) noexcept override {}
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override;
  std::shared_ptr<std::byte> allocate_shared(std::int64_t bytes) override;
  WindowMemory open_window(const OperationRun& run, std::int64_t bytes) override;
  std::unique_ptr<Transport> split(const OperationRun& run,
                                   const std::vector<std::vector<int>>& parts, int own) override;
  NextGeneration regroup(const OperationRun& run, Regrouping how) override;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_SINGLE_TRANSPORT_H_
