// NCCL where every rank has its own GPU, each other's memory where GPUs are shared, else the host.
#include "device/device_choice.h"

#include <algorithm>
#include <utility>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

void check_devices(const std::vector<RankDevice>& ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].number >= 0 && ranks[r].number < ranks[r].devices) continue;
    throw ConfigError("CUDA tensors: expected rank " + std::to_string(r) +
                      " to have a GPU number " + std::to_string(ranks[r].number) + ", found " +
                      std::to_string(ranks[r].devices) +
                      " GPUs; check CUDA_VISIBLE_DEVICES and the driver (muster doctor)");
  }
}

// Two ranks on one GPU; {-1, -1} when there are none.
std::pair<int, int> sharers(const std::vector<RankDevice>& ranks) {
  for (std::size_t a = 0; a < ranks.size(); ++a) {
    for (std::size_t b = a + 1; b < ranks.size(); ++b) {
      if (ranks[a].id == ranks[b].id && ranks[a].node == ranks[b].node) {
        return {static_cast<int>(a), static_cast<int>(b)};
      }
    }
  }
  return {-1, -1};
}

// Why the ranks cannot work in each other's memory; "" when they can.
std::string obstacle_to_reach(const std::vector<RankDevice>& ranks) {
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].node != ranks[0].node) {
      return "ranks 0 and " + std::to_string(r) + " are on different nodes";
    }
  }
  if (ranks.size() == 1 && ranks[0].reaches_all == 0) {
    return "CUDA refuses to share memory of rank 0's GPU with other processes";
  }
  for (std::size_t r = 0; r < ranks.size(); ++r) {
    if (ranks[r].reaches_all == 0) {
      return "rank " + std::to_string(r) + "'s GPU does not reach the memory of all others";
    }
  }
  return "";
}

std::string obstacle_to_nccl(const std::vector<RankDevice>& ranks) {
  const auto [a, b] = sharers(ranks);
  if (a < 0) return "";
  return "ranks " + std::to_string(a) + " and " + std::to_string(b) +
         " share a GPU, which NCCL refuses";
}

[[noreturn]] void refuse(const std::string& wanted, const std::string& obstacle) {
  throw ConfigError("CUDA tensors: expected ranks that " + wanted + " can serve, found that " +
                    obstacle + "; use the transport auto");
}

}  // namespace

DeviceChoice choose_device_transport(const std::vector<RankDevice>& ranks,
                                     const std::string& wanted) {
  if (wanted != "auto" && wanted != "nccl" && wanted != "cuda_ipc" && wanted != "host") {
    throw ConfigError("CUDA tensors: expected the transport auto, nccl, cuda_ipc or host, found '" +
                      wanted + "'; correct the option");
  }
  check_devices(ranks);
  if (wanted == "host") return {"host", "it was asked for"};
  const std::string no_nccl = obstacle_to_nccl(ranks);
  const std::string no_reach = obstacle_to_reach(ranks);
  if (wanted == "nccl" && !no_nccl.empty()) refuse(wanted, no_nccl);
  if (wanted == "cuda_ipc" && !no_reach.empty()) refuse(wanted, no_reach);
  if (wanted != "auto") return {wanted, "it was asked for"};
  if (ranks.size() == 1 && no_reach.empty()) {
    return {"cuda_ipc", "there is one rank, and nothing to carry"};
  }
  if (ranks.size() == 1) return {"host", "there is one rank, and " + no_reach};
  if (no_nccl.empty()) return {"nccl", "every rank has a GPU of its own"};
  if (no_reach.empty()) return {"cuda_ipc", no_nccl};
  return {"host", no_nccl + ", and " + no_reach};
}

}  // namespace muster::internal
