// NCCL's handle and the work of an operation on its stream.
#ifndef MUSTER_COLLECTIVES_SRC_CUDA_NCCL_CONNECTION_H_
#define MUSTER_COLLECTIVES_SRC_CUDA_NCCL_CONNECTION_H_

#include <ATen/core/Tensor.h>
#include <cuda_runtime_api.h>
#include <nccl.h>

#include <chrono>
#include <exception>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "muster/collectives/nccl_communicator.h"
#include "muster/collectives/work.h"

namespace muster::internal {

/// Throws InternalError naming the call when `error` is one.
void check_cuda(cudaError_t error, const char* call);

/// NCCL's handle, shared by the communicator and the operations in flight. The first failure aborts
/// it and is kept.
class NcclConnection {
 public:
  using Clock = std::chrono::steady_clock;

  /// Collective. Throws PeerLost or Timeout.
  NcclConnection(ncclUniqueId id, int rank, int world_size, const NcclOptions& options);
  ~NcclConnection();
  NcclConnection(const NcclConnection&) = delete;
  NcclConnection& operator=(const NcclConnection&) = delete;

  ncclComm_t comm() const { return comm_; }
  const NcclOptions& options() const { return options_; }

  /// Waits until a non-blocking call is done; throws and aborts otherwise.
  void complete(ncclResult_t result, const std::string& what, Clock::time_point deadline);

  /// Rethrows the first failure, if there was one.
  void check();

  [[noreturn]] void fail_with_timeout(const std::string& what);
  /// Ends whatever runs, and makes `error` the failure unless there is one.
  void abort(std::exception_ptr error) noexcept;

 private:
  [[noreturn]] void fail(const std::string& message);

  NcclOptions options_;
  ncclComm_t comm_ = nullptr;
  std::mutex mutex_;
  std::exception_ptr error_;
};

/// Ends with what had been issued on `stream` when it was made.
class NcclWork : public WorkState {
 public:
  /// `tensors` live until the end.
  NcclWork(std::shared_ptr<NcclConnection> connection, std::string what, cudaStream_t stream,
           std::vector<at::Tensor> tensors);
  // The tensors' memory must not be used again before the operation has ended.
  ~NcclWork() override;

  bool done() const override { return cudaEventQuery(event_) != cudaErrorNotReady; }
  void wait() override;
  bool wait_for(std::chrono::milliseconds timeout) override;

 private:
  bool has_ended();

  std::shared_ptr<NcclConnection> connection_;
  std::string what_;
  NcclConnection::Clock::time_point deadline_;
  std::vector<at::Tensor> tensors_;
  cudaEvent_t event_ = nullptr;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_CUDA_NCCL_CONNECTION_H_
