// Measures Gloo as PyTorch uses it: through c10d::ProcessGroupGloo of the same LibTorch, without
// Python.
#include <ATen/ops/from_blob.h>
#include <ATen/ops/zeros.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <torch/version.h>
#include <unistd.h>

#include <cerrno>
#include <map>
#include <string>
#include <torch/csrc/distributed/c10d/FileStore.hpp>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <utility>

#include "bench_main.h"
#include "muster/base/error.h"
#include "operation_shapes.h"
#include "suite.h"

namespace muster::bench {
namespace {

using GlooGroup = c10::intrusive_ptr<c10d::ProcessGroupGloo>;

struct Call {
  GlooGroup group;
  at::Tensor input;
  at::Tensor output;
  c10d::ReduceOp reduction;
};

struct Row {
  const char* operation;
  bool in_place;
  bool out_of_place;
  void (*run)(Call& call);
};

constexpr Row kRows[] = {
    {"all_reduce", true, false,
     [](Call& c) {
       std::vector<at::Tensor> tensors = {c.output};
       c10d::AllreduceOptions options;
       options.reduceOp = c.reduction;
       c.group->allreduce(tensors, options)->wait();
     }},
    {"all_gather", false, true,
     [](Call& c) { c.group->_allgather_base(c.output, c.input)->wait(); }},
    {"broadcast", true, false,
     [](Call& c) {
       std::vector<at::Tensor> tensors = {c.output};
       c10d::BroadcastOptions options;
       options.rootRank = kRoot;
       c.group->broadcast(tensors, options)->wait();
     }},
    {"barrier", true, true, [](Call& c) { c.group->barrier()->wait(); }},
};

c10d::ReduceOp reduce_op_of(const Library& library, const CaseName& name) {
  static const std::map<std::string, c10d::ReduceOp::RedOpType> ops = {
      {"", c10d::ReduceOp::SUM},  // not used
      {"sum", c10d::ReduceOp::SUM}, {"min", c10d::ReduceOp::MIN},
      {"max", c10d::ReduceOp::MAX}, {"product", c10d::ReduceOp::PRODUCT},
  };
  const auto found = ops.find(name.reduction);
  if (found == ops.end()) not_offered(library, name, "choose sum, min, max or product");
  return found->second;
}

class GlooLibrary : public Library {
 public:
  GlooLibrary(const RankEnv& env, GlooGroup group)
      : Library(env.rank, env.world_size), group_(std::move(group)) {}

  std::string name() const override { return "gloo"; }
  std::string transport() const override { return "tcp"; }

  at::Tensor allocate(const std::string& memory, std::int64_t bytes) override {
    if (memory == "ordinary") return at::zeros({bytes}, at::kByte);
    throw ConfigError("gloo: expected --memory ordinary, found " + memory +
                      "; Gloo has no other memory");
  }

  std::function<void()> bind(const CaseName& name, const Buffers& buffers) override {
    for (const Row& row : kRows) {
      const bool offered = name.place == "in" ? row.in_place : row.out_of_place;
      if (name.operation != row.operation || !offered) continue;
      return [call = Call{group_, buffers.input, buffers.output, reduce_op_of(*this, name)},
              run = row.run]() mutable { run(call); };
    }
    not_offered(*this, name, "choose all_reduce or broadcast in place, all_gather or barrier");
  }

  void barrier() override { group_->barrier()->wait(); }

  void maximize(std::span<double> values) override {
    std::vector<at::Tensor> tensors = {
        at::from_blob(values.data(), {static_cast<std::int64_t>(values.size())}, at::kDouble)};
    c10d::AllreduceOptions options;
    options.reduceOp = c10d::ReduceOp::MAX;
    group_->allreduce(tensors, options)->wait();
  }

 private:
  GlooGroup group_;
};

// Where ranks find each other: an unnamed file that they inherit.
class MeetingFile {
 public:
  MeetingFile() : fd_(memfd_create("gloo_meeting", MFD_CLOEXEC)) {
    if (fd_ >= 0) return;
    throw InternalError("memfd_create: expected a file, found " + errno_text(errno) +
                        "; see the limits of this machine");
  }
  ~MeetingFile() { close(fd_); }
  MeetingFile(const MeetingFile&) = delete;
  MeetingFile& operator=(const MeetingFile&) = delete;

  // One world's; worlds of other sizes have keys of their own.
  c10::intrusive_ptr<c10d::Store> store(int world_size) const {
    auto file =
        c10::make_intrusive<c10d::FileStore>("/proc/self/fd/" + std::to_string(fd_), world_size);
    return c10::make_intrusive<c10d::PrefixStore>(std::to_string(world_size) + "/", file);
  }

 private:
  int fd_;
};

int be_rank(const MeetingFile& file, const RankEnv& env, const BenchOptions& options,
            const BenchPlan& plan, Report* report) {
  const std::chrono::milliseconds timeout(static_cast<std::int64_t>(options.timeout_s * 1000));
  auto group_options = c10d::ProcessGroupGloo::Options::create_default(timeout);
  group_options->devices = {c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1")};
  GlooLibrary library(
      env, c10::make_intrusive<c10d::ProcessGroupGloo>(file.store(env.world_size), env.rank,
                                                       env.world_size, group_options));
  if (report != nullptr) {
    report->note(std::to_string(env.world_size) + " ranks, Gloo of LibTorch " TORCH_VERSION
                                                  " over the loopback device");
  }
  return run_suite(library, plan, nullptr, report);
}

}  // namespace
}  // namespace muster::bench

int main(int argc, char** argv) {
  using namespace muster::bench;
  const MeetingFile file;
  return bench_main(
      argc, argv,
      {.name = "gloo_bench",
       .description = "Measures Gloo as PyTorch uses it, without Python, as collectives_bench does "
                      "Muster.\n  gloo_bench --ranks 2 --memory ordinary --operations all_reduce\n",
       .starts_ranks = true,
       .be_rank = [&file](const auto& env, const auto& options, const auto& plan, Report* report) {
         return be_rank(file, env, options, plan, report);
       }});
}
