// Non-blocking calls with a deadline, and aborting.
#include "cuda/nccl_connection.h"

#include <thread>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::chrono::microseconds kPollInterval{50};

}  // namespace

void check_cuda(cudaError_t error, const char* call) {
  if (error == cudaSuccess) return;
  throw InternalError(std::string("NCCL transport: ") + call +
                      " failed: " + cudaGetErrorString(error));
}

NcclConnection::NcclConnection(ncclUniqueId id, int rank, int world_size,
                               const NcclOptions& options)
    : options_(options) {
  ncclConfig_t config = NCCL_CONFIG_INITIALIZER;
  config.blocking = 0;  // so that no call of ours can hang beyond its deadline
  const Clock::time_point deadline = Clock::now() + options.timeout;
  complete(ncclCommInitRankConfig(&comm_, world_size, id, rank, &config), "joining", deadline);
}

// Nothing is waited for: operations hold this object.
NcclConnection::~NcclConnection() {
  if (comm_ != nullptr) ncclCommAbort(comm_);
}

void NcclConnection::complete(ncclResult_t result, const std::string& what,
                              Clock::time_point deadline) {
  while (result == ncclSuccess || result == ncclInProgress) {
    ncclResult_t state = ncclSuccess;
    result = ncclCommGetAsyncError(comm_, &state);
    if (result != ncclSuccess) break;
    if (state == ncclSuccess) return;
    result = state;
    if (state != ncclInProgress) break;
    if (Clock::now() > deadline) fail_with_timeout(what);
    std::this_thread::sleep_for(kPollInterval);
  }
  fail(what + ": expected every rank to take part, found NCCL's error '" +
       ncclGetErrorString(result) + "'; a rank is lost: start the job again");
}

void NcclConnection::check() {
  std::lock_guard<std::mutex> lock(mutex_);
  if (error_) std::rethrow_exception(error_);
}

void NcclConnection::fail_with_timeout(const std::string& what) {
  abort(std::make_exception_ptr(
      Timeout(what + ": expected it to end within " + std::to_string(options_.timeout.count()) +
              " ms, found it still running; look at the other ranks, or raise the timeout")));
  std::rethrow_exception(error_);
}

void NcclConnection::fail(const std::string& message) {
  abort(std::make_exception_ptr(PeerLost(message)));
  std::rethrow_exception(error_);
}

void NcclConnection::abort(std::exception_ptr error) noexcept {
  std::lock_guard<std::mutex> lock(mutex_);
  if (error_) return;
  error_ = std::move(error);
  if (comm_ != nullptr) ncclCommAbort(std::exchange(comm_, nullptr));
}

NcclWork::NcclWork(std::shared_ptr<NcclConnection> connection, std::string what,
                   cudaStream_t stream, std::vector<at::Tensor> tensors)
    : connection_(std::move(connection)),
      what_(std::move(what)),
      deadline_(NcclConnection::Clock::now() + connection_->options().timeout),
      tensors_(std::move(tensors)) {
  check_cuda(cudaEventCreateWithFlags(&event_, cudaEventDisableTiming), "cudaEventCreate");
  check_cuda(cudaEventRecord(event_, stream), "cudaEventRecord");
}

NcclWork::~NcclWork() {
  cudaEventSynchronize(event_);
  cudaEventDestroy(event_);
}

bool NcclWork::has_ended() {
  connection_->check();
  const cudaError_t state = cudaEventQuery(event_);
  if (state == cudaSuccess) return true;
  if (state != cudaErrorNotReady) check_cuda(state, what_.c_str());
  connection_->complete(ncclSuccess, what_, deadline_);
  if (NcclConnection::Clock::now() > deadline_) connection_->fail_with_timeout(what_);
  return false;
}

void NcclWork::wait() {
  while (!has_ended()) std::this_thread::yield();
}

bool NcclWork::wait_for(std::chrono::milliseconds timeout) {
  const auto until = NcclConnection::Clock::now() + timeout;
  while (!has_ended()) {
    if (NcclConnection::Clock::now() > until) return false;
    std::this_thread::yield();
  }
  return true;
}

}  // namespace muster::internal
