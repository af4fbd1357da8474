// Measures Open MPI's own collectives, as collectives_bench does Muster's:
// mpirun -n 2 openmpi_bench --memory ordinary --operations all_reduce
#include <ATen/ops/zeros.h>
#include <mpi.h>

#include <map>
#include <string>

#include "bench_main.h"
#include "muster/base/error.h"
#include "operation_shapes.h"
#include "suite.h"

namespace muster::bench {
namespace {

struct Call {
  Buffers buffers;
  MPI_Datatype dtype;
  MPI_Op reduction;

  int input_numel() const { return static_cast<int>(buffers.input.numel()); }
  int output_numel() const { return static_cast<int>(buffers.output.numel()); }
  void* output() const { return buffers.output.data_ptr(); }
  // What MPI wants for the input: where it is, or that it is in the output.
  const void* input() const {
    const bool in_place = buffers.input.is_alias_of(buffers.output);
    return in_place ? MPI_IN_PLACE : buffers.input.data_ptr();
  }
};

struct Row {
  const char* operation;
  bool in_place;
  bool out_of_place;
  int (*run)(const Call& call);
};

constexpr Row kRows[] = {
    {"all_reduce", true, true,
     [](const Call& c) {
       return MPI_Allreduce(c.input(), c.output(), c.output_numel(), c.dtype, c.reduction,
                            MPI_COMM_WORLD);
     }},
    {"reduce_scatter", false, true,
     [](const Call& c) {
       return MPI_Reduce_scatter_block(c.input(), c.output(), c.output_numel(), c.dtype,
                                       c.reduction, MPI_COMM_WORLD);
     }},
    {"all_gather", true, true,
     [](const Call& c) {
       return MPI_Allgather(c.input(), c.input_numel(), c.dtype, c.output(), c.input_numel(),
                            c.dtype, MPI_COMM_WORLD);
     }},
    {"broadcast", true, false,
     [](const Call& c) {
       return MPI_Bcast(c.output(), c.output_numel(), c.dtype, kRoot, MPI_COMM_WORLD);
     }},
    {"all_to_all", false, true,
     [](const Call& c) {
       int ranks = 1;
       MPI_Comm_size(MPI_COMM_WORLD, &ranks);
       return MPI_Alltoall(c.input(), c.input_numel() / ranks, c.dtype, c.output(),
                           c.output_numel() / ranks, c.dtype, MPI_COMM_WORLD);
     }},
    {"barrier", true, true, [](const Call&) { return MPI_Barrier(MPI_COMM_WORLD); }},
};

MPI_Datatype dtype_of(const Library& library, const CaseName& name) {
  static const std::map<std::string, MPI_Datatype> types = {
      {"float32", MPI_FLOAT}, {"float64", MPI_DOUBLE}, {"int8", MPI_INT8_T},
      {"uint8", MPI_UINT8_T}, {"int16", MPI_INT16_T},  {"int32", MPI_INT32_T},
      {"int64", MPI_INT64_T},
  };
  const auto found = types.find(name.dtype);
  if (found == types.end()) not_offered(library, name, "choose a dtype that MPI has");
  return found->second;
}

MPI_Op op_of(const Library& library, const CaseName& name) {
  static const std::map<std::string, MPI_Op> ops = {
      {"", MPI_SUM},  // not used
      {"sum", MPI_SUM}, {"min", MPI_MIN}, {"max", MPI_MAX}, {"product", MPI_PROD},
  };
  const auto found = ops.find(name.reduction);
  if (found == ops.end()) not_offered(library, name, "choose sum, min, max or product");
  return found->second;
}

void check_mpi(int code) {
  if (code == MPI_SUCCESS) return;
  char text[MPI_MAX_ERROR_STRING] = {};
  int length = 0;
  MPI_Error_string(code, text, &length);
  throw InternalError("open-mpi: expected the call to work, found " + std::string(text) +
                      "; see what the other ranks say");
}

class OpenMpiLibrary : public Library {
 public:
  explicit OpenMpiLibrary(const RankEnv& env) : Library(env.rank, env.world_size) {}

  std::string name() const override { return "open-mpi"; }
  std::string transport() const override { return "mpi"; }

  at::Tensor allocate(const std::string& memory, std::int64_t bytes) override {
    if (memory == "ordinary") return at::zeros({bytes}, at::kByte);
    throw ConfigError("open-mpi: expected --memory ordinary, found " + memory +
                      "; MPI_Allreduce knows no other memory");
  }

  std::function<void()> bind(const CaseName& name, const Buffers& buffers) override {
    for (const Row& row : kRows) {
      const bool offered = name.place == "in" ? row.in_place : row.out_of_place;
      if (name.operation != row.operation || !offered) continue;
      const Call call{buffers, dtype_of(*this, name), op_of(*this, name)};
      return [call, run = row.run] { check_mpi(run(call)); };
    }
    not_offered(*this, name, "choose another operation, or --places in or out");
  }

  void barrier() override { check_mpi(MPI_Barrier(MPI_COMM_WORLD)); }

  void maximize(std::span<double> values) override {
    check_mpi(MPI_Allreduce(MPI_IN_PLACE, values.data(), static_cast<int>(values.size()),
                            MPI_DOUBLE, MPI_MAX, MPI_COMM_WORLD));
  }
};

// MPI must be started and ended by every rank, also by one that goes wrong.
class Mpi {
 public:
  Mpi() { MPI_Init(nullptr, nullptr); }
  ~Mpi() { MPI_Finalize(); }
  Mpi(const Mpi&) = delete;
  Mpi& operator=(const Mpi&) = delete;
};

int be_rank(const RankEnv& env, const BenchOptions&, const BenchPlan& plan, Report* report) {
  const Mpi mpi;
  OpenMpiLibrary library(env);
  if (report != nullptr) {
    char version[MPI_MAX_LIBRARY_VERSION_STRING] = {};
    int length = 0;
    MPI_Get_library_version(version, &length);
    const std::string text(version);
    report->note(std::to_string(env.world_size) + " ranks, " + text.substr(0, text.find(',')));
  }
  return run_suite(library, plan, nullptr, report);
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster::bench;
  return bench_main(
      argc, argv,
      {.name = "openmpi_bench",
       .description = "Measures Open MPI's own collectives, as collectives_bench does "
                      "Muster's.\n  mpirun -n 2 openmpi_bench --memory ordinary "
                      "--operations all_reduce\n",
       .under_launcher = true,
       .be_rank = be_rank,
       .meet = [](const muster::RankEnv&) {
         const Mpi mpi;
         MPI_Barrier(MPI_COMM_WORLD);
       }});
}
