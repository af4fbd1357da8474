// Starting and ending MPI.
#ifdef MUSTER_HAS_MPI
#include "mpi_runtime.h"

#include <mpi.h>

#include <array>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>

#include "mpi/mpi_transport.h"
#include "mpi/nodes_transport.h"
#include "muster/base/check.h"
#include "muster/base/error.h"

namespace muster::internal {
namespace {

// On one node Open MPI would probe every network it knows, for a second. What the user set stays.
void choose_local_transports() {
#if defined(OMPI_MAJOR_VERSION)
  setenv("OMPI_MCA_pml", "ob1", 0);
  setenv("OMPI_MCA_btl", OMPI_MAJOR_VERSION >= 5 ? "self,sm,tcp" : "self,vader,tcp", 0);
#endif
}

void check_world_size(const RankEnv& env) {
  int size = 0;
  int rank = 0;
  MPI_Comm_size(MPI_COMM_WORLD, &size);
  MPI_Comm_rank(MPI_COMM_WORLD, &rank);
  if (size == env.world_size && rank == env.rank) return;
  throw ConfigError("MPI: expected rank " + std::to_string(env.rank) + " of " +
                    std::to_string(env.world_size) + " as the environment says, found rank " +
                    std::to_string(rank) + " of " + std::to_string(size) +
                    "; mpirun and the program use two different MPI installations: start the "
                    "program with the mpirun of the MPI it was built with (. scripts/env)");
}

class StartedMpi : public MpiRuntime {
 public:
  StartedMpi() {
    int initialized = 0;
    MPI_Initialized(&initialized);
    if (initialized == 0) {
      int provided = 0;
      MPI_Init_thread(nullptr, nullptr, MPI_THREAD_SERIALIZED, &provided);
      owns_ = true;
    }
    int level = 0;
    MPI_Query_thread(&level);
    if (level < MPI_THREAD_SERIALIZED) {
      throw ConfigError(
          "MPI: expected an MPI that several threads may call in turn (MPI_THREAD_SERIALIZED), "
          "found level " +
          std::to_string(level) + "; call MPI_Init_thread with that level, or let muster do it");
    }
    MPI_Comm_set_errhandler(MPI_COMM_WORLD, MPI_ERRORS_RETURN);
  }

  std::vector<std::string> from_all_ranks(const std::string& text) override {
    using Buffer = std::array<char, 256>;
    Buffer own{};
    MUSTER_CHECK_LT(text.size(), own.size());
    std::memcpy(own.data(), text.data(), text.size());
    std::vector<Buffer> all(static_cast<std::size_t>(world_size()));
    constexpr int kBytes = sizeof(Buffer);
    check_joining(
        MPI_Allgather(own.data(), kBytes, MPI_CHAR, all.data(), kBytes, MPI_CHAR, MPI_COMM_WORLD));
    std::vector<std::string> texts;
    texts.reserve(all.size());
    for (const Buffer& buffer : all) texts.emplace_back(buffer.data());
    return texts;
  }

  NodeLayout layout() override {
    const int own_rank = rank();
    int first_rank = own_rank;
    MPI_Comm node = MPI_COMM_NULL;
    check_joining(
        MPI_Comm_split_type(MPI_COMM_WORLD, MPI_COMM_TYPE_SHARED, own_rank, MPI_INFO_NULL, &node));
    check_joining(MPI_Bcast(&first_rank, 1, MPI_INT, 0, node));
    check_joining(MPI_Comm_free(&node));
    std::vector<int> first_ranks(static_cast<std::size_t>(world_size()));
    check_joining(
        MPI_Allgather(&first_rank, 1, MPI_INT, first_ranks.data(), 1, MPI_INT, MPI_COMM_WORLD));
    return NodeLayout(first_ranks);
  }

  std::unique_ptr<Transport> make_transport() override {
    return std::make_unique<MpiTransport>(make_link());
  }

  std::unique_ptr<Transport> make_nodes_transport(NodeLayout layout, NodeGroup group) override {
    return std::make_unique<NodesTransport>(make_link(), std::move(layout), std::move(group),
                                            rank());
  }

  void finalize() override {
    if (comm_ != MPI_COMM_NULL) MPI_Comm_free(&comm_);
    if (owns_) MPI_Finalize();
  }

 private:
  static int rank() {
    int rank = 0;
    MPI_Comm_rank(MPI_COMM_WORLD, &rank);
    return rank;
  }

  static int world_size() {
    int size = 0;
    MPI_Comm_size(MPI_COMM_WORLD, &size);
    return size;
  }

  static void check_joining(int error) {
    if (error == MPI_SUCCESS) return;
    throw PeerLost(
        "MPI: expected all " + std::to_string(world_size()) +
        " ranks to join, found one lost meanwhile; see its output, and start the job again");
  }

  // On new wires every rank's first mailbox has the same number.
  MpiLink make_link() {
    check_joining(MPI_Comm_dup(MPI_COMM_WORLD, &comm_));
    auto wires = std::make_shared<MpiWires>(comm_);
    MpiLink link{wires, std::make_shared<Mailbox>(wires), {}, rank()};
    for (int place = 0; place < world_size(); ++place) {
      link.ranks.push_back({place, link.own->number()});
    }
    return link;
  }

  bool owns_ = false;  // false: the user's program started MPI, and ends it
  MPI_Comm comm_ = MPI_COMM_NULL;
};

}  // namespace

std::unique_ptr<MpiRuntime> MpiRuntime::start(const RankEnv& env) {
  if (env.local_world_size == env.world_size) choose_local_transports();
  auto runtime = std::make_unique<StartedMpi>();
  check_world_size(env);
  return runtime;
}

}  // namespace muster::internal
#endif  // MUSTER_HAS_MPI
