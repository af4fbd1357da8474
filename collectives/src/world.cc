// Choosing the transport, joining and leaving.
#include "muster/collectives/world.h"

#include <exception>
#include <numeric>
#include <utility>
#include <vector>

#include "mpi_runtime.h"
#include "muster/base/check.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/flight_recorder.h"
#include "muster/base/log.h"
#include "muster/base/node_memory.h"
#include "node_memory_handoff.h"
#include "owner_process.h"
#include "parent_watch.h"
#include "queued_communicator.h"
#include "reception.h"
#include "shm_transport.h"
#include "single_transport.h"

namespace muster {

using internal::DescriptorServer;
using internal::MpiRuntime;
using internal::NodeGroup;
using internal::NodeLayout;
using internal::ParentWatch;
using internal::QueuedCommunicator;
using internal::ShmTransport;
using internal::SingleTransport;
using internal::Transport;

/// Destroyed from the last member to the first: the communicator's thread ends before what it
/// stands on.
struct World::Membership {
  internal::OwnerProcess owner;
  RankEnv env;
  std::string transport;
  int exceptions_at_start = std::uncaught_exceptions();
  std::unique_ptr<ParentWatch> parent_watch;  ///< Under mpirun; the launcher's ranks need none.
  std::unique_ptr<MpiRuntime> mpi;
  std::shared_ptr<NodeMemory> node_memory;
  int node_memory_slot = 0;
  std::shared_ptr<FlightRecorder> flight;  ///< Null when operations are not recorded.
  std::unique_ptr<QueuedCommunicator> communicator;

  ~Membership();

  /// The rank's end of what `transport` names.
  std::unique_ptr<Transport> make_transport(std::chrono::milliseconds timeout);
  FlightLane record_as(const std::string& name);
  /// Of a process that comes in the place of a lost rank: joins the others' next generation.
  void take_place(std::chrono::milliseconds timeout);

 private:
  std::unique_ptr<Transport> join_one_node(std::chrono::milliseconds timeout);
  std::unique_ptr<Transport> join_several_nodes(std::chrono::milliseconds timeout);
  void join(std::shared_ptr<NodeMemory> memory, int slot);
};

namespace {

// "nodes" means: unless MPI says that each rank is alone on its node.
std::string choose_transport(const RankEnv& env, const std::string& wanted) {
  const bool one_node = env.local_world_size == env.world_size;
  const bool under_mpi = env.launched_by == LaunchedBy::kMpi;
  if (wanted != "auto" && wanted != "shm" && wanted != "mpi") {
    throw ConfigError("transport: expected auto, shm or mpi, found '" + wanted +
                      "'; correct --transport");
  }
  if (wanted == "mpi" && !under_mpi) {
    throw ConfigError(
        "transport: expected mpirun to have started the ranks, since --transport is mpi, found " +
        std::string(env.launched_by == LaunchedBy::kMuster ? "muster run" : "no launcher") +
        "; use --transport auto, or start the program with mpirun");
  }
  if (!one_node && (wanted == "shm" || !under_mpi)) {
    throw ConfigError("transport: expected all " + std::to_string(env.world_size) +
                      " ranks on this node for shared memory, found " +
                      std::to_string(env.local_world_size) +
                      "; start the program with mpirun and --transport auto");
  }
  if (env.world_size == 1 && wanted != "mpi") return "single";
  if (wanted == "mpi") return "mpi";
  return one_node ? "shm" : "nodes";
}

std::shared_ptr<NodeMemory> attach_to_launcher(const RankEnv& env) {
  if (env.node_memory_fd < 0) {
    throw ConfigError(
        "joining: expected the launcher's memory in MUSTER_NODE_MEMORY_FD, found it unset; "
        "start the program with muster run");
  }
  return NodeMemory::attach(env.node_memory_fd, static_cast<std::uint32_t>(env.generation));
}

// Under mpirun nobody holds the node's memory for the ranks: its first one makes it and hands it
// round.
std::shared_ptr<NodeMemory> share_among(const std::vector<int>& ranks_of_node, const RankEnv& env,
                                        MpiRuntime& mpi, std::chrono::milliseconds timeout) {
  const auto generation = static_cast<std::uint32_t>(env.generation);
  const int first = ranks_of_node[0];
  if (env.rank != first) {
    const std::vector<std::string> names = mpi.from_all_ranks("");
    const int fd = internal::receive_descriptor(names[static_cast<std::size_t>(first)], timeout);
    return NodeMemory::attach(fd, generation);
  }
  const int local_ranks = static_cast<int>(ranks_of_node.size());
  std::shared_ptr<NodeMemory> memory = NodeMemory::create(local_ranks, generation);
  DescriptorServer server;
  mpi.from_all_ranks(server.name());
  server.serve(memory->fd(), local_ranks - 1, timeout);
  return memory;
}

// A full disk is no reason not to train.
std::shared_ptr<FlightRecorder> start_recording(const RankEnv& env) {
  if (env.flight_directory.empty()) return nullptr;
  try {
    return FlightRecorder::create(env);
  } catch (const FileError& error) {
    MUSTER_LOG(WARNING) << "operations are not recorded, so that muster flight will not know of "
                           "this rank: "
                        << error.what() << "; give a writable directory in MUSTER_FLIGHT_DIR";
    return nullptr;
  }
}

}  // namespace

// MPI_Finalize waits for all ranks, so it is called only once all have agreed to leave: a rank that
// leaves because of an error must not wait for those that do not yet know of it.
World::Membership::~Membership() {
  const bool unwinding = std::uncaught_exceptions() > exceptions_at_start;
  const bool orderly = mpi && communicator && !unwinding && communicator->leave_together();
  communicator.reset();
  if (flight) flight->end(unwinding ? FlightEnd::kFailed : FlightEnd::kLeft);
  if (node_memory) node_memory->leave(node_memory_slot);
  if (orderly) mpi->finalize();
}

// Slots are in the order of ranks and not of local ranks, which mpirun need not give alike: the
// order of sums hangs on it.
void World::Membership::join(std::shared_ptr<NodeMemory> memory, int slot) {
  memory->join(slot);
  node_memory = std::move(memory);
  node_memory_slot = slot;
}

std::unique_ptr<Transport> World::Membership::join_one_node(std::chrono::milliseconds timeout) {
  std::vector<int> everyone(static_cast<std::size_t>(env.world_size));
  std::iota(everyone.begin(), everyone.end(), 0);
  join(mpi ? share_among(everyone, env, *mpi, timeout) : attach_to_launcher(env), env.rank);
  return std::make_unique<ShmTransport>(NodeGroup::everyone(node_memory), env.rank);
}

std::unique_ptr<Transport> World::Membership::join_several_nodes(
    std::chrono::milliseconds timeout) {
  NodeLayout layout = mpi->layout();
  if (layout.nodes() == env.world_size) {
    transport = "mpi";
    return mpi->make_transport();
  }
  const std::vector<int>& ranks = layout.ranks_of(layout.node_of(env.rank));
  join(share_among(ranks, env, *mpi, timeout), layout.local_rank_of(env.rank));
  NodeGroup group = NodeGroup::everyone(node_memory);
  group.names = ranks;
  return mpi->make_nodes_transport(std::move(layout), std::move(group));
}

std::unique_ptr<Transport> World::Membership::make_transport(std::chrono::milliseconds timeout) {
  if (transport == "single") return std::make_unique<SingleTransport>();
  if (transport == "mpi") return mpi->make_transport();
  return transport == "shm" ? join_one_node(timeout) : join_several_nodes(timeout);
}

FlightLane World::Membership::record_as(const std::string& name) {
  return flight ? flight->add_communicator(name, env.rank, env.world_size) : FlightLane();
}

void World::Membership::take_place(std::chrono::milliseconds timeout) {
  if (transport != "shm" || mpi) {
    throw ConfigError(
        "joining: expected a world of several ranks under muster run, since MUSTER_REPLACEMENT is "
        "set, found transport " +
        transport + "; unset it");
  }
  node_memory = attach_to_launcher(env);
  node_memory_slot = node_memory->join_later();
  internal::Members members =
      internal::Reception::wait_for_admission(node_memory, env.rank, node_memory_slot, timeout);
  const int generation = members.group.generation;
  auto place = std::make_unique<ShmTransport>(std::move(members.group), members.rank);
  communicator = QueuedCommunicator::meet(
      std::make_unique<QueuedCommunicator>(
          members.rank, env.world_size, std::move(place), "", timeout,
          record_as(QueuedCommunicator::flight_name("", generation)),
          internal::CommunicatorOrigin{generation, std::move(members.previous_ranks)}),
      timeout, internal::Regrouping::kReplace);
}

World World::create(const RankEnv& env, const WorldOptions& options) {
  auto membership = std::make_unique<Membership>();
  membership->env = env;
  if (env.launched_by == LaunchedBy::kMpi) {
    membership->parent_watch = std::make_unique<ParentWatch>();
  }
  membership->flight = start_recording(env);  // first: joining can hang too
  membership->transport = choose_transport(env, options.transport);
  if (env.launched_by == LaunchedBy::kMpi && membership->transport != "single") {
    membership->mpi = MpiRuntime::start(env);
  }
  if (env.replaces_lost_rank) {
    membership->take_place(options.timeout);
    return World(std::move(membership));
  }
  std::unique_ptr<Transport> transport = membership->make_transport(options.timeout);
  membership->communicator = std::make_unique<QueuedCommunicator>(
      env.rank, env.world_size, std::move(transport), "", options.timeout,
      membership->record_as("world"), internal::CommunicatorOrigin{env.generation, {}});
  membership->communicator->barrier().wait();
  return World(std::move(membership));
}

World::World(std::unique_ptr<Membership> membership) : membership_(std::move(membership)) {}
World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;
World::~World() {
  if (membership_ && !membership_->owner.is_this()) internal::keep_for_ever(std::move(membership_));
}

Communicator& World::communicator() { return *membership_->communicator; }
const RankEnv& World::env() const { return membership_->env; }
const std::string& World::transport() const { return membership_->transport; }

}  // namespace muster
