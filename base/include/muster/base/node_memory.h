// The memory that all ranks of a node map: a control page (generation, who is alive) and the
// symmetric region.
#ifndef MUSTER_BASE_NODE_MEMORY_H_
#define MUSTER_BASE_NODE_MEMORY_H_

#include <pthread.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace muster {

inline constexpr int kMaxLocalRanks = 256;
inline constexpr int kMaxNamedBlocks = 64;

enum class RankState : std::uint32_t {
  kAbsent = 0,  ///< Not attached yet.
  kAlive = 1,   ///< Attached, and holding `alive`.
  kLeft = 2,    ///< Detached in an orderly way.
  kDied = 3,    ///< Found dead by a peer.
};

/// A rank's entry in the control page.
struct alignas(64) RankSlot {
  pthread_mutex_t alive;  ///< Robust, process-shared, held for life: its owner's death is
                          ///< EOWNERDEAD within milliseconds.
  std::atomic<std::uint32_t> state;
  std::atomic<std::int32_t> pid;
  std::atomic<std::uint64_t> sequence;  ///< Of the rank's latest operation.
  char operation[32];  ///< Its name; for messages only, so a torn read does no harm.
};

/// First bytes of the node memory.
struct NodeControl {
  std::uint64_t magic;
  std::uint32_t version;
  std::uint32_t local_world_size;
  /// Futex word. Differs from the generation the ranks were started with once the launcher saw a
  /// death.
  std::atomic<std::uint32_t> generation;
  /// Slots that processes have, or had: those of the first ranks, then one for each that came later
  /// in the place of a lost one, so that a slot is one process's for good.
  std::atomic<std::uint32_t> slots_taken;
  /// Where the part of the symmetric region begins that nobody has reserved.
  std::atomic<std::uint64_t> unreserved_offset;
  /// Of the blocks that processes find by number; 0 while nobody has asked for one.
  std::atomic<std::uint64_t> named_blocks[kMaxNamedBlocks];
  RankSlot slots[kMaxLocalRanks];
};

/// One generation's memory on one node: a sealed, sparse memfd. It vanishes with the last process
/// that has it open. The creator (launcher, or the first local rank under mpirun) passes fd() on;
/// ranks attach().
class NodeMemory {
 public:
  /// Sparse: costs nothing until touched. So much that no job uses it up, though no address is used
  /// twice.
  static constexpr std::uint64_t kCapacityBytes = std::uint64_t{1} << 60;
  /// Of one reserve(): under a terabyte, so that a size that is a mistake is told.
  static constexpr std::uint64_t kMostAtOnceBytes = (std::uint64_t{1} << 40) - 1;
  /// Where the symmetric region begins; aligned to 64 KiB, the largest page size.
  static std::uint64_t symmetric_offset_bytes();

  /// Throws ConfigError where files may not be as large (ulimit -f), else InternalError naming the
  /// system call that failed.
  static std::unique_ptr<NodeMemory> create(int local_world_size, std::uint32_t generation);
  /// Checks seals, size, magic and version; throws ConfigError when `fd` is not such a memory.
  /// Takes ownership of `fd` when it returns, and leaves it alone when it throws.
  static std::unique_ptr<NodeMemory> attach(int fd, std::uint32_t generation);
  /// Leaves, when this process joined: from the thread that did.
  ~NodeMemory();
  NodeMemory(const NodeMemory&) = delete;
  NodeMemory& operator=(const NodeMemory&) = delete;

  int fd() const { return fd_; }
  NodeControl& control() { return *control_; }
  std::uint32_t generation() const { return generation_; }

  /// Maps `bytes` at `offset_bytes` (page-aligned, within the capacity), shared, zero at first
  /// touch. Unmapped by the destructor. Throws InternalError.
  std::byte* map(std::uint64_t offset_bytes, std::uint64_t bytes);
  /// What map() returned; not sooner than the destructor where this is not called.
  void unmap(std::byte* address) noexcept;
  /// Gives what was written in a range (page-aligned) back to the system: it is zero again, in
  /// every process.
  void release(std::uint64_t offset_bytes, std::uint64_t bytes) noexcept;

  /// Reserves `bytes` of the symmetric region and returns their offset, a multiple of 64 KiB. Any
  /// process and thread. Throws ConfigError for more than kMostAtOnceBytes, or than there is left.
  std::uint64_t reserve(std::uint64_t bytes);

  /// The offset of block `number`, which whoever asks first reserves with `bytes`; all ask for the
  /// same. For what ranks must find before they can talk. Throws as reserve() does.
  std::uint64_t named_block(int number, std::uint64_t bytes);

  /// Takes this rank's `alive` mutex and sets kAlive. From a thread that lives as long as the
  /// process: main. Throws InternalError when another process has or had the rank in this
  /// generation.
  void join(int local_rank);
  /// The same in a slot of its own, for a process that comes later. Returns its number, which all
  /// other calls take in the place of `local_rank`. Throws ConfigError when there is none left.
  int join_later();
  /// Sets kLeft and gives the mutex back. From the thread that joined.
  void leave(int local_rank);

  /// Cheap (an atomic load, then a trylock): true when the peer died, left, or the generation
  /// moved. A peer that has not joined yet is not lost.
  bool peer_is_lost(int local_rank);
  /// The same, whatever the generation: true when this very peer died or left.
  bool peer_is_gone(int local_rank);
  bool generation_moved() const;
  /// Launcher: tells every waiter that this generation is over.
  void end_generation();

 private:
  NodeMemory(int fd, std::uint32_t generation);

  RankSlot& slot(int local_rank);

  struct Mapping;
  int fd_;
  std::uint32_t generation_;
  int joined_rank_ = -1;
  NodeControl* control_ = nullptr;
  std::unique_ptr<Mapping> mappings_;
};

/// Sleeps until `word` differs from `seen`, a wake comes or `timeout_us` passes. Works across
/// processes.
void futex_wait(const std::atomic<std::uint32_t>& word, std::uint32_t seen,
                std::int64_t timeout_us);
/// Wakes every process that waits on `word`.
void futex_wake_all(const std::atomic<std::uint32_t>& word);

}  // namespace muster

#endif  // MUSTER_BASE_NODE_MEMORY_H_
