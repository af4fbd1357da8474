// Preparing, running in turns and checking.
#include "suite.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <utility>

#include "exact_pattern.h"
#include "muster/base/error.h"
#include "operation_shapes.h"

namespace muster::bench {
namespace {

using Clock = std::chrono::steady_clock;

// One row at one size, ready to run.
struct Case {
  Result result;
  Buffers buffers;
  std::vector<ExpectedRange> expected_output;
  std::vector<ExpectedRange> expected_input;  // out of place: unchanged
  std::function<void()> run;
  std::vector<double> samples_s = {};
};

// Memory is allocated once, for the largest size: symmetric memory is never given back.
class Arena {
 public:
  Arena(Library& library, std::int64_t bytes) : library_(library), bytes_(bytes) {}

  Buffers buffers_for(const CaseName& name, std::int64_t input_numel, std::int64_t output_numel) {
    const at::ScalarType dtype = scalar_type_of(name.dtype);
    if (input_numel + output_numel == 0) return {};
    const at::Tensor first = take(name.memory, 0, std::max(input_numel, output_numel), dtype);
    if (name.place == "out") {
      return {first.narrow(0, 0, input_numel), take(name.memory, 1, output_numel, dtype)};
    }
    const auto own_share = [&](std::int64_t numel) {
      return numel == first.numel() ? first : first.narrow(0, library_.rank() * numel, numel);
    };
    return {own_share(input_numel), own_share(output_numel)};
  }

 private:
  at::Tensor take(const std::string& memory, int which, std::int64_t numel, at::ScalarType dtype) {
    at::Tensor& block = blocks_[{memory, which}];
    if (!block.defined()) block = library_.allocate(memory, bytes_);
    const auto bytes = numel * static_cast<std::int64_t>(c10::elementSize(dtype));
    return block.narrow(0, 0, bytes).view(dtype);
  }

  Library& library_;
  std::int64_t bytes_;
  std::map<std::pair<std::string, int>, at::Tensor> blocks_;
};

// A share of at least one element, and shares of one size.
std::int64_t whole_numel(const OperationShape& shape, std::int64_t bytes, std::int64_t item_bytes,
                         int world_size) {
  const std::int64_t numel = std::max<std::int64_t>(1, bytes / item_bytes);
  const bool shared =
      shape.input == Extent::kShare || shape.output == Extent::kShare || shape.name == "all_to_all";
  return shared ? std::max<std::int64_t>(1, numel / world_size) * world_size : numel;
}

std::int64_t extent_numel(Extent extent, std::int64_t whole, int world_size) {
  if (extent == Extent::kNone) return 0;
  return extent == Extent::kWhole ? whole : whole / world_size;
}

Result result_of(const Library& library, const CaseName& name) {
  Result result;
  result.library = library.name();
  result.transport = library.transport();
  result.ranks = library.world_size();
  result.name = name;
  return result;
}

Case make_case(Library& library, Arena& arena, const CaseName& name, std::int64_t bytes) {
  const OperationShape& shape = operation_shape(name.operation);
  const int world_size = library.world_size();
  const auto item_bytes = static_cast<std::int64_t>(c10::elementSize(scalar_type_of(name.dtype)));
  const std::int64_t whole = whole_numel(shape, bytes, item_bytes, world_size);
  Case c;
  c.result = result_of(library, name);
  c.result.bytes = shape.output == Extent::kNone ? 0 : whole * item_bytes;
  c.result.bus_factor = shape.bus_factor(world_size);
  c.buffers = arena.buffers_for(name, extent_numel(shape.input, whole, world_size),
                                extent_numel(shape.output, whole, world_size));
  c.expected_output = shape.expected({library.rank(), world_size, whole, name.reduction});
  if (name.place == "out" && c.buffers.input.defined()) {
    c.expected_input = {{0, c.buffers.input.numel(), rank_pattern(library.rank())}};
  }
  c.run = library.bind(name, c.buffers);
  return c;
}

Case make_bare_case(const Library& library, BareLoop& bare, std::int64_t bytes) {
  const std::int64_t numel = std::max<std::int64_t>(1, bytes / 4);
  const at::Tensor buffer = bare.buffer().narrow(0, 0, numel * 4).view(at::kFloat);
  Case c;
  c.result = result_of(library, {"bare_loop", "sum", "float32", "symmetric", "in"});
  c.result.library = "bare loop";
  c.result.transport = "shm";
  c.result.bytes = numel * 4;
  c.result.bus_factor = operation_shape("all_reduce").bus_factor(library.world_size());
  c.buffers = {buffer, buffer};
  c.expected_output = {{0, numel, combined_pattern("sum", library.world_size())}};
  c.run = [&bare, numel] { bare.run(numel); };
  return c;
}

void check(Library& library, Case& c) {
  if (c.buffers.input.defined()) {
    c.buffers.output.zero_();
    fill_with_pattern(c.buffers.input, rank_pattern(library.rank()));
  }
  library.barrier();
  c.run();
  c.result.wrong += count_wrong(c.buffers.output, c.expected_output);
  c.result.wrong += count_wrong(c.buffers.input, c.expected_input);
  library.barrier();
}

void warm_up(Library& library, Case& c, const BenchPlan& plan) {
  for (at::Tensor tensor : {c.buffers.input, c.buffers.output}) {
    if (tensor.defined()) tensor.zero_();
  }
  library.barrier();
  double shortest_s = 1e9;
  for (std::int64_t i = 0; i < plan.warmup; ++i) {
    const auto start = Clock::now();
    c.run();
    const std::chrono::duration<double> elapsed = Clock::now() - start;
    shortest_s = std::min(shortest_s, elapsed.count());
  }
  library.maximize({&shortest_s, 1});  // so that all ranks plan alike
  c.result.plan = plan_batches(shortest_s, plan.case_s);
}

void time_batch(Library& library, Case& c) {
  library.barrier();
  c.run();
  const std::int64_t runs = c.result.plan.runs_per_batch;
  const auto start = Clock::now();
  for (std::int64_t i = 0; i < runs; ++i) c.run();
  const std::chrono::duration<double> elapsed = Clock::now() - start;
  c.samples_s.push_back(elapsed.count() / static_cast<double>(runs));
}

// Round by round, so that whatever else the machine does disturbs all cases alike. A case with
// fewer batches than others has them spread over the rounds.
void time_in_turns(Library& library, std::vector<Case>& cases) {
  std::int64_t rounds = 0;
  for (const Case& c : cases) rounds = std::max(rounds, c.result.plan.batches);
  for (std::int64_t round = 0; round < rounds; ++round) {
    for (Case& c : cases) {
      const std::int64_t batches = c.result.plan.batches;
      if ((round + 1) * batches / rounds > round * batches / rounds) time_batch(library, c);
    }
  }
}

void conclude(Library& library, Case& c) {
  library.maximize(c.samples_s);
  auto wrong = static_cast<double>(c.result.wrong);
  library.maximize({&wrong, 1});
  c.result.wrong = static_cast<std::int64_t>(wrong);
  c.result.timing = summarize(c.samples_s);
}

bool comparable_with_bare(const CaseName& name) {
  return name.operation.ends_with("all_reduce") || name.operation == "bare_loop";
}

// The cases that the library has, which it is asked by making their calls once at the least size.
std::vector<CaseName> offered_cases(Library& library, const BenchPlan& plan, Arena& arena,
                                    Report* report) {
  std::vector<CaseName> offered;
  std::string last_refusal;
  for (const CaseName& name : plan.cases) {
    try {
      make_case(library, arena, name, plan.sizes_bytes.front()).run();
      offered.push_back(name);
    } catch (const ConfigError& e) {
      last_refusal = e.what();
      if (report != nullptr) report->note("left out: " + last_refusal);
    }
  }
  if (offered.empty()) throw ConfigError(last_refusal);
  return offered;
}

std::vector<Case> run_size(Library& library, const BenchPlan& plan,
                           const std::vector<CaseName>& names, Arena& arena, BareLoop* bare,
                           std::int64_t bytes) {
  std::vector<Case> cases;
  if (bare != nullptr) cases.push_back(make_bare_case(library, *bare, bytes));
  for (const CaseName& name : names) cases.push_back(make_case(library, arena, name, bytes));
  for (Case& c : cases) check(library, c);
  for (Case& c : cases) warm_up(library, c, plan);
  time_in_turns(library, cases);
  for (Case& c : cases) check(library, c);
  for (Case& c : cases) conclude(library, c);
  return cases;
}

}  // namespace

int run_suite(Library& library, const BenchPlan& plan, BareLoop* bare, Report* report) {
  // A share of at least one element makes the smallest sizes larger.
  const std::int64_t most_bytes =
      std::max<std::int64_t>(plan.sizes_bytes.back(), 8 * library.world_size());
  Arena arena(library, most_bytes);
  const std::vector<CaseName> names = offered_cases(library, plan, arena, report);
  if (report != nullptr) report->head();
  int wrong_rows = 0;
  for (const std::int64_t bytes : plan.sizes_bytes) {
    const std::vector<Case> cases = run_size(library, plan, names, arena, bare, bytes);
    for (const Case& c : cases) {
      Result result = c.result;
      if (bare != nullptr && comparable_with_bare(result.name)) {
        result.bare_median_s = cases.front().result.timing.median_s;
      }
      wrong_rows += result.wrong > 0 ? 1 : 0;
      if (report != nullptr) report->add(result);
    }
  }
  return wrong_rows;
}

}  // namespace muster::bench
