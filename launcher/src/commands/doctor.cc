// muster doctor
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <optional>

#include "commands/command.h"
#include "doctor/findings.h"
#include "doctor/gather.h"
#include "doctor/measure.h"
#include "doctor/options.h"
#include "doctor/probes.h"
#include "doctor/report.h"
#include "muster/base/error.h"
#include "muster/base/rank_env.h"

namespace muster::launcher {
namespace {

using doctor::DoctorOptions;
using doctor::Facts;
using doctor::Measurement;
using doctor::SystemView;

// As git finds its own: beside this program.
std::string measuring_program() {
  const std::filesystem::path self = std::filesystem::read_symlink("/proc/self/exe");
  return self.parent_path() / "muster-doctor-measure";
}

/// This process's place among several that mpirun started; nothing when it is alone. An environment
/// that contradicts itself is for findings() to tell.
std::optional<RankEnv> rank_of_mpirun() {
  try {
    const RankEnv env = RankEnv::from_environment();
    if (env.launched_by == LaunchedBy::kMpi && env.world_size > 1) return env;
  } catch (const ConfigError&) {
  }
  return std::nullopt;
}

Facts look(const DoctorOptions& options, const SystemView& view) {
  Facts facts;
  facts.cpu = doctor::gather_cpu(view);
  facts.wanted.ranks = options.ranks.value_or(doctor::default_ranks(facts.cpu.usable_cores()));
  facts.wanted.threads = options.threads;
  facts.wanted.mpirun = options.mpirun.has_value();
  facts.memory = doctor::gather_memory(view);
  facts.system = doctor::gather_system(view);
  facts.system.probes = doctor::run_probes();
  facts.limits = doctor::gather_limits(view);
  const doctor::Environment environment = doctor::own_environment();
  doctor::gather_temporary_directory(environment, facts.system);
  facts.environment = doctor::relevant_environment(environment);
  facts.mpi = doctor::gather_mpi(environment);
  facts.build = doctor::gather_build(measuring_program());
  facts.gpu = doctor::gather_gpu(view);
  facts.network = doctor::gather_network(view);
  if (!options.directory.empty()) {
    facts.storage = doctor::gather_storage(options.directory, options.measure);
  }
  facts.leftovers = doctor::gather_leftovers(view, facts.system.temporary_directory);
  return facts;
}

void measure(const DoctorOptions& options, const SystemView& view, Facts& facts) {
  doctor::measure_loopback(facts.network);
  if (facts.build.program.empty() || !facts.build.error.empty()) return;
  const doctor::MeasureProgram program{
      facts.build.program,
      doctor::bytes_to_measure(facts.wanted.ranks, facts.memory.usable_bytes())};
  facts.in_node =
      doctor::measure_in_node(program, facts.wanted.ranks, facts.system.temporary_directory, view);
  if (options.mpirun && !facts.mpi.runs.empty()) {
    facts.over_mpi = doctor::measure_by_mpirun(program, *options.mpirun, view);
  }
}

/// Under mpirun all ranks measure, with the same sizes; then rank 0 goes on alone.
Measurement measure_with_peers(const RankEnv& env, const SystemView& view) {
  constexpr std::int64_t kBytes = std::int64_t{16} << 20;
  return doctor::measure_as_rank({measuring_program(), kBytes}, env.rank, view);
}

}  // namespace

int doctor_command(const Words& words) {
  const auto options = doctor::parse_doctor_options(words);
  if (!options) {
    std::fputs(doctor_command_help().c_str(), stdout);
    return 0;
  }
  const SystemView view;
  const std::optional<RankEnv> rank = rank_of_mpirun();
  std::optional<Measurement> over_mpi;
  if (rank && options->measure) over_mpi = measure_with_peers(*rank, view);
  if (rank && rank->rank != 0) {
    if (over_mpi && !over_mpi->error.empty()) {
      std::fprintf(stderr, "muster doctor: %s: %s\n", rank->description().c_str(),
                   over_mpi->error.c_str());
    }
    return 0;
  }
  Facts facts = look(*options, view);
  if (options->measure) measure(*options, view, facts);
  if (over_mpi) facts.over_mpi = over_mpi;
  const std::vector<doctor::Finding> all = doctor::findings(facts);
  if (options->json) {
    std::printf("%s\n", doctor::report_json(facts, all)
                            .dump(2, ' ', false, Json::error_handler_t::replace)
                            .c_str());
  } else {
    std::fputs(doctor::report_text(facts, all).c_str(), stdout);
  }
  // mpirun takes any other code for a crash: it ends the job and may lose what was printed.
  return rank ? 0 : doctor::exit_code_of(all);
}

std::string doctor_command_help() { return doctor::doctor_help(); }

}  // namespace muster::launcher
