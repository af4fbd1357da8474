// Interfaces, InfiniBand, and the disk for checkpoints.
#include <algorithm>

#include "doctor/judges.h"
#include "doctor/quantities.h"

namespace muster::launcher::doctor {
namespace {

constexpr std::int64_t kGiB = std::int64_t{1} << 30;

void judge_space(const StorageFacts& storage, Verdicts& verdicts) {
  const std::string found = bytes_text(storage.free_bytes) + " of " +
                            bytes_text(storage.total_bytes) + " free in " + storage.path;
  const std::string why = "a checkpoint that does not fit is not written; the one before stands";
  if (storage.free_bytes < kGiB || storage.free_bytes < storage.total_bytes / 50) {
    verdicts.warning("storage.space", found, why,
                     "make room, or keep fewer checkpoints (--keep-checkpoints)");
  }
  if (storage.free_files >= 0 && storage.free_files < 1000) {
    verdicts.warning(
        "storage.files",
        count_text(storage.free_files, "more file") + " can be made in " + storage.path,
        "each rank writes a file a checkpoint", "remove small files");
  }
}

}  // namespace

void judge_network(const Facts& facts, Verdicts& verdicts) {
  const auto& interfaces = facts.network.interfaces;
  const auto is_loopback = [](const NetworkInterface& one) { return one.loopback; };
  const auto loopback = std::find_if(interfaces.begin(), interfaces.end(), is_loopback);
  if (loopback == interfaces.end() || !loopback->up) {
    verdicts.warning("network.loopback", "the loopback interface is down",
                     "mpirun and its ranks talk over it, on one node too", "ip link set lo up");
  } else if (!facts.network.loopback_error.empty()) {
    verdicts.warning("network.loopback",
                     "TCP over 127.0.0.1 fails: " + facts.network.loopback_error,
                     "mpirun and its ranks talk over it, on one node too",
                     "look for a firewall or a profile that forbids sockets");
  }
  bool any_up = false;
  for (const NetworkInterface& one : interfaces) {
    if (one.loopback || !one.up) continue;
    any_up = true;
    if (one.megabits_per_second > 0 && one.megabits_per_second <= 1000 && facts.wanted.mpirun) {
      verdicts.warning("network.slow",
                       one.name + " runs at " + std::to_string(one.megabits_per_second) + " Mbit/s",
                       "each step sends all gradients twice",
                       "name a faster one: mpirun --mca btl_tcp_if_include NAME");
    }
    if (one.megabits_per_second >= 10000 && one.mtu > 0 && one.mtu <= 1500 && one.hardware) {
      verdicts.note("network.mtu",
                    one.name + " is fast (" + std::to_string(one.megabits_per_second / 1000) +
                        " Gbit/s) and sends packets of " + std::to_string(one.mtu) + " bytes",
                    "each packet costs the processor time",
                    "where all switches allow it: ip link set " + one.name + " mtu 9000");
    }
  }
  if (!any_up && facts.wanted.mpirun) {
    verdicts.error("network.none", "no interface but the loopback is up",
                   "other nodes cannot be reached", "ip link shows them");
  }
  for (const InfinibandPort& port : facts.network.infiniband) {
    if (port.state.find("ACTIVE") != std::string::npos) continue;
    verdicts.warning("network.infiniband", port.name + " is " + port.state,
                     "traffic takes another way, which is slower",
                     "look at its cable and at the subnet manager (ibstat)");
  }
}

void judge_storage(const Facts& facts, Verdicts& verdicts) {
  if (!facts.storage) return;
  const StorageFacts& storage = *facts.storage;
  if (!storage.error.empty()) {
    verdicts.error("storage.unusable", storage.path + ": " + storage.error,
                   "checkpoints cannot be written there", "check the path and who may write to it");
    return;
  }
  judge_space(storage, verdicts);
  if (storage.in_memory) {
    verdicts.warning("storage.memory", storage.path + " is in memory (" + storage.filesystem + ")",
                     "checkpoints there are lost with the machine, and take memory from the ranks",
                     "choose a directory on a disk");
    return;
  }
  if (storage.over_network) {
    verdicts.note("storage.network",
                  storage.path + " is on another machine (" + storage.filesystem + ")",
                  "all ranks write at once; HDF5's file locks may be refused there",
                  "if opening files fails: export HDF5_USE_FILE_LOCKING=FALSE");
  }
  if (storage.filesystem == "overlay") {
    verdicts.note("storage.container", storage.path + " is in the container's own layer (overlay)",
                  "what is written there goes with the container",
                  "mount a volume for checkpoints: docker run -v /data:/data");
  }
  if (!storage.direct_io) {
    verdicts.note("storage.direct_io",
                  "files in " + storage.path + " cannot be opened with O_DIRECT",
                  "what is written passes through the page cache, and takes memory until it is "
                  "on the disk");
  }
  constexpr double kSlow = 50e6;
  if (storage.write_bytes_per_second > 0 && storage.write_bytes_per_second < kSlow) {
    verdicts.warning("storage.slow",
                     storage.path + " takes " + speed_text(storage.write_bytes_per_second),
                     "a checkpoint that is not on the disk when the next is due holds up the job",
                     "save less often (--checkpoint-every), or choose a faster disk");
  } else {
    verdicts.ok("storage.usable", storage.path + " can be written to");
  }
}

}  // namespace muster::launcher::doctor
