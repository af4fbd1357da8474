// Choosing the transport, joining and leaving.
#include "muster/collectives/world.h"

#include <exception>
#include <utility>

#include "mpi_runtime.h"
#include "muster/base/check.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/base/flight_recorder.h"
#include "muster/base/log.h"
#include "muster/base/node_memory.h"
#include "node_memory_handoff.h"
#include "queued_communicator.h"
#include "shm_transport.h"
#include "single_transport.h"

namespace muster {

using internal::DescriptorServer;
using internal::MpiRuntime;
using internal::NodeGroup;
using internal::QueuedCommunicator;
using internal::ShmTransport;
using internal::SingleTransport;
using internal::Transport;

/// Destroyed from the last member to the first: the communicator's thread ends before what it
/// stands on.
struct World::Membership {
  RankEnv env;
  std::string transport;
  int exceptions_at_start = std::uncaught_exceptions();
  std::unique_ptr<MpiRuntime> mpi;
  std::shared_ptr<NodeMemory> node_memory;
  std::shared_ptr<FlightRecorder> flight;  ///< Null when operations are not recorded.
  std::unique_ptr<QueuedCommunicator> communicator;

  ~Membership();
};

namespace {

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
  return wanted == "mpi" || !one_node ? "mpi" : "shm";
}

std::shared_ptr<NodeMemory> attach_to_launcher(const RankEnv& env) {
  if (env.node_memory_fd < 0) {
    throw ConfigError(
        "joining: expected the launcher's memory in MUSTER_NODE_MEMORY_FD, found it unset; "
        "start the program with muster run");
  }
  return NodeMemory::attach(env.node_memory_fd, static_cast<std::uint32_t>(env.generation));
}

// Under mpirun nobody holds the node's memory for the ranks: rank 0 makes it and hands it round.
std::shared_ptr<NodeMemory> share_among_ranks(const RankEnv& env, MpiRuntime& mpi,
                                              std::chrono::milliseconds timeout) {
  const auto generation = static_cast<std::uint32_t>(env.generation);
  if (env.rank != 0) {
    return NodeMemory::attach(internal::receive_descriptor(mpi.from_rank_0(""), timeout),
                              generation);
  }
  std::shared_ptr<NodeMemory> memory = NodeMemory::create(env.world_size, generation);
  DescriptorServer server;
  mpi.from_rank_0(server.name());
  server.serve(memory->fd(), env.world_size - 1, timeout);
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
  if (node_memory) node_memory->leave(env.rank);
  if (orderly) mpi->finalize();
}

World World::create(const RankEnv& env, const WorldOptions& options) {
  auto membership = std::make_unique<Membership>();
  membership->env = env;
  membership->flight = start_recording(env);  // first: joining can hang too
  membership->transport = choose_transport(env, options.transport);
  if (env.launched_by == LaunchedBy::kMpi && membership->transport != "single") {
    membership->mpi = MpiRuntime::start(env);
  }
  std::unique_ptr<Transport> transport;
  if (membership->transport == "mpi") {
    transport = membership->mpi->make_transport();
  } else if (membership->transport == "single") {
    transport = std::make_unique<SingleTransport>();
  } else {
    auto memory = membership->mpi ? share_among_ranks(env, *membership->mpi, options.timeout)
                                  : attach_to_launcher(env);
    // By rank and not by local rank, which mpirun need not give in the order of ranks: the order of
    // sums hangs on it.
    memory->join(env.rank);
    membership->node_memory = memory;
    transport = std::make_unique<ShmTransport>(NodeGroup::everyone(memory), env.rank);
  }
  FlightLane lane;
  if (membership->flight) {
    lane = membership->flight->add_communicator("world", env.rank, env.world_size);
  }
  membership->communicator = std::make_unique<QueuedCommunicator>(
      env.rank, env.world_size, std::move(transport), "", options.timeout, std::move(lane),
      internal::CommunicatorOrigin{env.generation, {}});
  membership->communicator->barrier().wait();
  return World(std::move(membership));
}

World::World(std::unique_ptr<Membership> membership) : membership_(std::move(membership)) {}
World::World(World&&) noexcept = default;
World& World::operator=(World&&) noexcept = default;
World::~World() = default;

Communicator& World::communicator() { return *membership_->communicator; }
const RankEnv& World::env() const { return membership_->env; }
const std::string& World::transport() const { return membership_->transport; }

}  // namespace muster
