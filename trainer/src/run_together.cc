// Agreeing on failures.
#include "run_together.h"

#include <ATen/ops/zeros.h>

#include <exception>
#include <string>

#include "text_exchange.h"

namespace muster::internal {

void run_together(Communicator& communicator, const std::function<void()>& work) {
  std::exception_ptr error;
  auto exit_code = static_cast<std::int64_t>(ExitCode::kSuccess);
  try {
    work();
  } catch (const Error& e) {
    error = std::current_exception();
    exit_code = static_cast<std::int64_t>(e.exit_code());
  } catch (...) {
    error = std::current_exception();
    exit_code = static_cast<std::int64_t>(ExitCode::kUserError);
  }
  const int world_size = communicator.world_size();
  at::Tensor mine = at::zeros({1}, at::TensorOptions(at::kLong));
  mine.mutable_data_ptr<std::int64_t>()[0] = exit_code;
  at::Tensor all = at::zeros({world_size}, at::TensorOptions(at::kLong));
  communicator.all_gather(all, mine).wait();
  const auto* codes = all.const_data_ptr<std::int64_t>();
  for (int rank = 0; rank < world_size; ++rank) {
    if (codes[rank] == 0) continue;
    if (rank == communicator.rank()) std::rethrow_exception(error);
    throw FailedElsewhere(static_cast<ExitCode>(codes[rank]),
                          "rank " + std::to_string(rank) + " could not go on");
  }
}

void run_alike(const Communicator& communicator, const std::function<void()>& work) {
  try {
    work();
  } catch (const Error& e) {
    const bool alike = dynamic_cast<const ConfigError*>(&e) != nullptr ||
                       dynamic_cast<const UserError*>(&e) != nullptr;
    if (!alike || communicator.rank() == 0) throw;
    throw FailedElsewhere(e.exit_code(), "rank 0 could not go on");
  }
}

void wait_for_rank_0(Communicator& communicator, const std::function<bool()>& ended) {
  std::string state;
  while (state != "ended") {
    if (communicator.rank() == 0) state = ended() ? "ended" : "at work";
    state = broadcast_text(communicator, state);
  }
}

}  // namespace muster::internal
