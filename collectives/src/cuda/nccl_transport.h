// Operations on GPUs through NCCL.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_NCCL_TRANSPORT_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_NCCL_TRANSPORT_H_

#include <nccl.h>

#include <cstdint>
#include <memory>
#include <vector>

#include "cuda/cuda_device.h"
#include "device/device_transport.h"

namespace muster::internal {

/// Whose order reductions follow.
enum class NcclReductions {
  kPlan,  ///< All reductions follow their plan: the bits of every other transport.
  kFast,  ///< all_reduce, reduce and reduce_scatter are NCCL's own, where it has the dtype and
          ///< combination; canonical forms follow their plan.
};

/// The owner of a slice receives it from every rank, combines in plan order and sends the result to
/// every rank that gets it, in groups of sends and receives: the bytes of a ring.
///
/// No call of NCCL's blocks: it is asked for its state until the deadline. An operation ends with a
/// meeting of all ranks on the host, so that a rank that leaves afterwards takes nothing from under
/// another's kernel. Transfers between two ranks go by way of the host, since NCCL would order
/// them.
class NcclTransport : public DeviceTransport {
 public:
  NcclTransport(std::unique_ptr<Transport> host, std::shared_ptr<CudaDevice> device, int rank,
                int world_size, NcclReductions reductions);
  ~NcclTransport() override;

 protected:
  void connect(const OperationRun& run) override;
  void run_on_device(const OperationRun& run) override;
  void check_device(const OperationRun& run) override;
  void abandon_device() noexcept override;
  std::unique_ptr<Transport> rewired(std::unique_ptr<Transport> host, int rank,
                                     int world_size) override;

 private:
  class Group;

  bool reduce_natively(const OperationRun& run);
  void reduce_for_others(const OperationRun& run);
  void reduce_for_self(const OperationRun& run);
  void move(const OperationRun& run);
  void give_back(const OperationRun& run, std::int64_t begin, std::int64_t numel,
                 const std::byte* own);
  std::vector<const std::byte*> receive_sources(const Operation& op, std::int64_t own_offset_bytes,
                                                std::int64_t bytes, Group& group);
  std::byte* scratch(std::int64_t bytes);
  /// Waits until NCCL has taken a call.
  void complete(ncclResult_t result, const OperationRun& run);
  [[noreturn]] void throw_failed(ncclResult_t result, const OperationRun& run);

  const std::shared_ptr<CudaDevice> cuda_;
  const NcclReductions reductions_;
  ncclComm_t comm_ = nullptr;
  std::vector<std::shared_ptr<std::byte>> scratches_;  // the last is in use
  std::int64_t scratch_bytes_ = 0;                     // of the last
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_NCCL_TRANSPORT_H_
