// Training on a GPU: the update's kernels have the CPU's bits, and a job has the same bits at every
// world size, ZeRO stage and transport, wherever the optimizer's state is.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <string>
#include <vector>

#include "accelerator.h"
#include "collectives/rank_processes.h"
#include "cuda/check_cuda.h"
#include "cuda/cuda_device.h"
#include "device/gpu.h"
#include "flat_layout.h"
#include "host_state.h"
#include "muster/base/hash.h"
#include "muster/trainer/engine.h"
#include "trainer/odd_net.h"

namespace muster::testing {
namespace {

using internal::HostState;
using internal::PieceDevice;

constexpr auto kTimeout = std::chrono::seconds(60);
constexpr auto kLimit = std::chrono::seconds(200);
constexpr int kLogicalRanks = 4;
constexpr int kSteps = 5;

at::Device prepared_gpu() {
  const at::Device device(at::kCUDA, 0);
  internal::accelerator()->prepare(device);
  return device;
}

/// What `run` makes of the same tensors on the host and on the GPU is the same, bit for bit.
using Run =
    std::function<void(const PieceDevice& device, std::vector<float*> x, std::int64_t numel)>;
void expect_bits_of_host(const Run& run) {
  constexpr std::int64_t kNumel = 37 * internal::kBlockNumel;
  torch::manual_seed(5);
  std::vector<at::Tensor> on_host;
  // Of many magnitudes; the fourth is a second moment.
  for (int i = 0; i < 4; ++i)
    on_host.push_back(torch::randn({kNumel}) * torch::exp(10 * torch::randn({kNumel})));
  on_host[3].abs_();
  const at::Device gpu(at::kCUDA, 0);
  std::vector<at::Tensor> on_gpu;
  for (const at::Tensor& tensor : on_host) on_gpu.push_back(tensor.to(gpu));
  const auto pointers = [](const std::vector<at::Tensor>& tensors) {
    std::vector<float*> result;
    for (const at::Tensor& tensor : tensors) result.push_back(tensor.mutable_data_ptr<float>());
    return result;
  };
  run(internal::host_pieces(), pointers(on_host), kNumel);
  run(internal::accelerator()->pieces(gpu), pointers(on_gpu), kNumel);
  for (std::size_t i = 0; i < on_host.size(); ++i) {
    const at::Tensor found = on_gpu[i].cpu();
    EXPECT_EQ(std::memcmp(found.const_data_ptr(), on_host[i].const_data_ptr(), found.nbytes()), 0)
        << "array " << i;
  }
}

TEST(PieceKernels, HaveTheBitsOfTheCpu) {
  MUSTER_NEEDS_GPUS(1);
  run_ranks(1, [](int, Communicator&) {
    prepared_gpu();
    expect_bits_of_host([](const PieceDevice& device, const auto& x, std::int64_t n) {
      device.adamw_update(x[0], x[1], x[2], x[3], n,
                          internal::adamw_factors(0.01, 0.9, 0.99, 1e-8, 0.1, 0.3, 7));
    });
    expect_bits_of_host([](const PieceDevice& device, const auto& x, std::int64_t n) {
      device.adam_update(x[0], x[1], x[2], x[3], n,
                         internal::adamw_factors(0.01, 0.9, 0.99, 1e-8, 0, 0.3, 7), 0.1f);
    });
    expect_bits_of_host([](const PieceDevice& device, const auto& x, std::int64_t n) {
      device.lion_update(x[0], x[1], x[2], n, internal::lion_factors(0.01, 0.9, 0.99, 0.1, 0.3));
    });
    for (const float momentum : {0.0f, 0.9f}) {
      for (const bool nesterov : {false, true}) {
        expect_bits_of_host([&](const PieceDevice& device, const auto& x, std::int64_t n) {
          device.sgd_update(x[0], x[1], x[2], n, {0.3f, 0.1f, momentum, 0.8f, 0.01f, nesterov});
        });
      }
    }
    expect_bits_of_host([](const PieceDevice& device, const auto& x, std::int64_t n) {
      device.scale_and_clamp(x[0], n, 0.3f, 0.5f);
      device.move_average(x[1], x[2], n, 0.01f);
      device.swap(x[2], x[3], n);
      device.block_square_sums(x[0], n, reinterpret_cast<double*>(x[3]));
    });
  });
}

// Twice more than half of what is free.
TEST(DeviceMemory, ComesBackFromLibTorchsCache) {
  MUSTER_NEEDS_GPUS(1);
  run_ranks(1, [](int, Communicator&) {
    const at::Device gpu = prepared_gpu();
    std::size_t free = 0;
    std::size_t total = 0;
    internal::check_cuda(cudaMemGetInfo(&free, &total), "cudaMemGetInfo");
    const auto bytes = static_cast<std::int64_t>(free / 10 * 6);
    at::empty({bytes}, at::TensorOptions(at::kByte).device(gpu));
    internal::CudaDevice device(gpu.index());
    EXPECT_NE(device.allocate(bytes), nullptr);
  });
}

struct Job {
  Precision precision = Precision::kFloat32;
  OptimizerKind optimizer = OptimizerKind::kAdamW;
  double clip_norm = 0.5;
};

struct Circumstances {
  int world_size = 1;
  int zero_stage = 0;
  bool offload = false;
  std::string transport = "auto";
};

EngineOptions options_of(const Job& job, const Circumstances& circumstances) {
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.seed = 3;
  options.precision = job.precision;
  options.optimizer.kind = job.optimizer;
  options.optimizer.weight_decay = 0.1;
  options.clip_norm = job.clip_norm;
  options.ema_decay = 0.5;
  options.bucket_mib = 1;
  options.zero_stage = circumstances.zero_stage;
  options.offload_optimizer = circumstances.offload;
  options.gpu_transport = circumstances.transport;
  return options;
}

double make_step(Engine& engine, OddNet& net) {
  engine.begin_step();
  for (const MicroStep& micro : engine.micro_steps()) {
    engine.begin_micro_step(micro);
    const std::int64_t first = engine.step() * 31 + micro.logical_rank * 7;
    const torch::Tensor ids = torch::arange(first, first + 8).remainder(11).to(engine.device());
    torch::Tensor loss;
    {
      const Autocast autocast(engine.options().precision, engine.device());
      loss = torch::nn::functional::cross_entropy(
          net.forward(ids, /*use_all=*/micro.logical_rank % 2 == 0), ids);
    }
    engine.backward(loss, 8);
  }
  return engine.finish_step(0.01).loss;
}

std::string hash_of(Engine& engine, const std::vector<double>& losses) {
  Hash128 hash;
  hash.update(losses.data(), losses.size() * sizeof(double));
  for (const StateTensor& tensor : engine.whole_state()) {
    hash.update(tensor.name);
    hash.update(tensor.flat.const_data_ptr(), tensor.flat.nbytes());
  }
  return hash.hex();
}

/// Of the state and the losses, the same on all ranks.
std::string hash_after(const Job& job, const Circumstances& circumstances) {
  const std::string path = ::testing::TempDir() + "muster_device_training_hash";
  const auto memory = NodeMemory::create(circumstances.world_size, 0);
  const auto body = [&](int rank, Communicator& host) {
    const at::Device gpu = prepared_gpu();
    torch::manual_seed(rank);  // rank 0's values must win
    OddNet net;
    net.to(gpu);
    Engine engine(net, host, options_of(job, circumstances));
    EXPECT_EQ(engine.device(), gpu);
    std::vector<double> losses;
    for (int step = 0; step < kSteps; ++step) losses.push_back(make_step(engine, net));
    EXPECT_TRUE(std::isfinite(losses.back()));
    EXPECT_NE(losses.back(), losses.front());
    engine.swap_average();
    engine.swap_average();
    const std::string hash = hash_of(engine, losses);
    if (rank == 0) std::ofstream(path) << hash;
  };
  for (const RankEnd& end : run_ranks(*memory, circumstances.world_size, kTimeout, body, kLimit)) {
    EXPECT_TRUE(end.exited_well) << "signal " << end.signal;
  }
  std::string hash;
  std::getline(std::ifstream(path), hash);
  std::filesystem::remove(path);
  return hash;
}

TEST(TrainingOnAGpu, HasTheSameBitsInAllCircumstances) {
  MUSTER_NEEDS_GPUS(1);
  for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16}) {
    const Job job{precision};
    const std::string expected = hash_after(job, {});
    ASSERT_FALSE(expected.empty());
    for (const Circumstances& other : {Circumstances{1, 0, true},
                                       {2, 0, false},
                                       {2, 1, false},
                                       {2, 2, true},
                                       {4, 2, false},
                                       {4, 1, true},
                                       {2, 2, false, "host"},
                                       {1, 3, false},
                                       {2, 3, false},
                                       {4, 3, true}}) {
      SCOPED_TRACE(std::to_string(other.world_size) + " ranks, stage " +
                   std::to_string(other.zero_stage) + (other.offload ? ", offloaded" : "") + ", " +
                   other.transport);
      EXPECT_EQ(hash_after(job, other), expected);
    }
  }
}

TEST(TrainingOnAGpu, EveryOptimizerHasTheSameBitsOffloadedAndNot) {
  MUSTER_NEEDS_GPUS(1);
  for (const OptimizerKind kind :
       {OptimizerKind::kSgd, OptimizerKind::kAdam, OptimizerKind::kLion}) {
    const Job job{Precision::kBFloat16Mixed, kind, 0};
    EXPECT_EQ(hash_after(job, {1, 0, false}), hash_after(job, {2, 2, true}));
  }
  for (const OptimizerKind kind : {OptimizerKind::kLamb, OptimizerKind::kAdafactor}) {
    const Job job{Precision::kFloat32, kind};
    EXPECT_EQ(hash_after(job, {1, 0, true}), hash_after(job, {2, 2, true}));
  }
}

// What is written into state() is what training goes on with.
TEST(TrainingOnAGpu, GoesOnFromItsStateInHostMemory) {
  MUSTER_NEEDS_GPUS(1);
  for (const bool offload : {false, true}) {
    run_ranks(1, [&](int, Communicator& host) {
      const at::Device gpu = prepared_gpu();
      const EngineOptions options = options_of({}, {1, 0, offload});
      OddNet net;
      net.to(gpu);
      Engine engine(net, host, options);
      make_step(engine, net);
      const HostState kept(engine.state(), HostState::Contents::kValues);
      std::vector<at::Tensor> values;
      for (const StateTensor& tensor : kept.tensors()) values.push_back(tensor.flat.clone());
      const double expected = make_step(engine, net);

      HostState to_fill(engine.state(), HostState::Contents::kNone);
      for (std::size_t i = 0; i < values.size(); ++i) to_fill.tensors()[i].flat.copy_(values[i]);
      to_fill.give_back();
      engine.state_changed();
      engine.resume(1, engine.loss_scale());
      EXPECT_EQ(make_step(engine, net), expected);
    });
  }
}

TEST(TrainingOnAGpu, RefusesWhatItCannotDo) {
  MUSTER_NEEDS_GPUS(1);
  run_ranks(1, [](int, Communicator& host) {
    OddNet net;
    net.to(prepared_gpu());
    EngineOptions copies = options_of({}, {1, 3, false});
    copies.replicate_between_nodes = true;
    EXPECT_THROW(Engine(net, host, copies), ConfigError);
    EXPECT_THROW(Engine(net, host, options_of({Precision::kFloat32, OptimizerKind::kLamb}, {})),
                 ConfigError);
  });
}

}  // namespace
}  // namespace muster::testing
