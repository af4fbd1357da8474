// Fifty steps of every kind of model end in the same bits at every ZeRO stage, in both forms of
// stage 3, with and without activation checkpointing, in float32 and within bf16 autocast, as on
// one rank alone.
#include <ATen/Context.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "gpt.h"
#include "muster/collectives/world.h"
#include "muster/trainer/activation_checkpoint.h"
#include "muster/trainer/engine.h"
#include "resnet.h"
#include "trainer/outcome.h"
#include "trainer/test_world.h"
#include "trainer/watched_communicator.h"

namespace muster {
namespace {

namespace nn = torch::nn;

constexpr int kSteps = 50;
constexpr int kLogicalRanks = 4;

/// A model and its loss on a micro-batch of its own making: LibTorch's generator is seeded by then.
struct Model {
  std::shared_ptr<nn::Module> module;
  std::function<torch::Tensor(std::int64_t samples)> loss;
};

torch::Tensor class_loss(const torch::Tensor& scores, std::int64_t samples) {
  return nn::functional::cross_entropy(scores, torch::arange(samples) % scores.size(1));
}

template <typename Holder>
torch::Tensor through(bool checkpointing, const Holder& holder, const torch::Tensor& x) {
  return checkpointing ? activation_checkpoint(holder, x) : holder.ptr()->forward(x);
}

nn::Conv2d conv(std::int64_t in, std::int64_t out) {
  return nn::Conv2d(nn::Conv2dOptions(in, out, 3).padding(1).bias(false));
}

/// Batch norm and dropout.
Model make_cnn(bool checkpointing) {
  nn::Sequential features(conv(1, 4), nn::BatchNorm2d(4), nn::ReLU(), nn::MaxPool2d(2), conv(4, 8),
                          nn::BatchNorm2d(8), nn::ReLU(), nn::Dropout(0.25));
  nn::Sequential head(nn::Flatten(), nn::Linear(8 * 4 * 4, 5));
  nn::ModuleList all(features, head);
  return {all.ptr(), [=](std::int64_t samples) mutable {
            const torch::Tensor x = torch::randn({samples, 1, 8, 8});
            return class_loss(head->forward(through(checkpointing, features, x)), samples);
          }};
}

/// Every block is checkpointed.
Model make_resnet18(bool checkpointing) {
  nn::Sequential net = resnet18(1, 5, /*width=*/2);
  return {net.ptr(), [=](std::int64_t samples) mutable {
            torch::Tensor x = torch::randn({samples, 1, 4, 4});
            if (!checkpointing) return class_loss(net->forward(x), samples);
            for (nn::AnyModule& part : *net) {
              const std::shared_ptr<nn::Module> block = part.ptr();
              const auto run = [part](const std::vector<at::Tensor>& in) mutable {
                return std::vector<at::Tensor>{part.any_forward(in[0]).get<torch::Tensor>()};
              };
              x = activation_checkpoint(*block, run, {x})[0];
            }
            return class_loss(x, samples);
          }};
}

/// A tied embedding and dropout.
Model make_gpt(bool checkpointing) {
  GptOptions options;
  options.vocabulary = 31;
  options.context = 8;
  options.width = 16;
  options.layers = 2;
  options.heads = 2;
  options.activation_checkpointing = checkpointing;
  Gpt gpt(options);
  return {gpt.ptr(), [=](std::int64_t samples) mutable {
            const torch::Tensor ids = torch::randint(31, {samples, 9});
            return nn::functional::cross_entropy(gpt->forward(ids.narrow(1, 0, 8)).flatten(0, 1),
                                                 ids.narrow(1, 1, 8).flatten());
          }};
}

struct SpellerImpl : nn::Module {
  explicit SpellerImpl(bool checkpoint)
      : letters(register_module("letters", nn::Embedding(29, 8))),
        lstm(register_module("lstm", nn::LSTM(nn::LSTMOptions(8, 8).num_layers(2).dropout(0.2)))),
        out(register_module("out", nn::Linear(8, 29))),
        checkpointing(checkpoint) {}

  /// int64 [t, n] -> scores [t, n, 29]
  torch::Tensor forward(const torch::Tensor& ids) {
    const torch::Tensor x = letters(ids);
    const auto run = [this](const std::vector<at::Tensor>& in) {
      return std::vector<at::Tensor>{std::get<0>(lstm->forward(in[0]))};
    };
    return out(checkpointing ? activation_checkpoint(*lstm, run, {x})[0] : run({x})[0]);
  }

  nn::Embedding letters;
  nn::LSTM lstm;
  nn::Linear out;
  bool checkpointing;
};
TORCH_MODULE(Speller);

Model make_lstm(bool checkpointing) {
  Speller net(checkpointing);
  return {net.ptr(), [=](std::int64_t samples) mutable {
            const torch::Tensor ids = torch::randint(29, {4, samples});
            return nn::functional::cross_entropy(net->forward(ids.narrow(0, 0, 3)).flatten(0, 1),
                                                 ids.narrow(0, 1, 3).flatten());
          }};
}

/// A layer that is never used, one that some micro-batches leave out, a frozen one and a frozen
/// parameter between trainable ones.
struct PartlyUsedImpl : nn::Module {
  explicit PartlyUsedImpl(bool checkpoint)
      : first(register_module("first", nn::Linear(6, 10))),
        unused(register_module("unused", nn::Linear(10, 10))),
        frozen(register_module("frozen", nn::Linear(10, 10))),
        block(register_module("block", nn::Sequential(nn::Linear(10, 20), nn::GELU(),
                                                      nn::Dropout(0.1), nn::Linear(20, 10)))),
        sometimes(register_module("sometimes", nn::Linear(10, 10))),
        last(register_module("last", nn::Linear(10, 5))),
        checkpointing(checkpoint) {
    for (const torch::Tensor& p : frozen->parameters()) p.set_requires_grad(false);
    last->bias.set_requires_grad(false);
  }

  torch::Tensor forward(torch::Tensor x) {
    x = torch::tanh(frozen(first(x)));
    x = x + through(checkpointing, block, x);
    if (torch::rand({1}).item<float>() < 0.5) x = x + sometimes(x);
    return last(x);
  }

  nn::Linear first, unused, frozen;
  nn::Sequential block;
  nn::Linear sometimes, last;
  bool checkpointing;
};
TORCH_MODULE(PartlyUsed);

Model make_partly_used(bool checkpointing) {
  PartlyUsed net(checkpointing);
  return {net.ptr(), [=](std::int64_t samples) mutable {
            return class_loss(net->forward(torch::randn({samples, 6})), samples);
          }};
}

const std::map<std::string, Model (*)(bool)> kModels = {{"Cnn", make_cnn},
                                                        {"ResNet18", make_resnet18},
                                                        {"Gpt", make_gpt},
                                                        {"Lstm", make_lstm},
                                                        {"PartlyUsed", make_partly_used}};

/// Of losses, parameters, buffers and optimizer state.
std::string train(Communicator& communicator, const std::string& name, Precision precision,
                  int zero_stage, bool checkpointing) {
  torch::manual_seed(5);
  const Model model = kModels.at(name)(checkpointing);
  EngineOptions options;
  options.logical_ranks = kLogicalRanks;
  options.seed = 7;
  options.precision = precision;
  options.clip_norm = 0.5;
  options.zero_stage = zero_stage;
  options.bucket_mib = 1;
  options.optimizer.weight_decay = 0.1;
  Engine engine(*model.module, communicator, options);
  Outcome outcome;
  while (engine.step() < kSteps) {
    engine.begin_step();
    for (const MicroStep& micro : engine.micro_steps()) {
      engine.begin_micro_step(micro);
      const std::int64_t samples = micro.logical_rank == 3 ? 3 : 2;
      torch::Tensor loss;
      {
        const Autocast autocast(precision);
        loss = model.loss(samples);
      }
      engine.backward(loss, static_cast<double>(samples));
    }
    outcome.losses.push_back(engine.finish_step(3e-3).loss);
  }
  outcome.state = engine.whole_state();
  return hash_of(outcome);
}

struct Training {
  std::string model;
  Precision precision;
};

std::vector<Training> all_trainings() {
  std::vector<Training> trainings;
  for (const auto& [name, make] : kModels) {
    for (const Precision precision : {Precision::kFloat32, Precision::kBFloat16Mixed})
      trainings.push_back({name, precision});
  }
  return trainings;
}

/// oneDNN has recurrent layers in bfloat16 for AVX-512 only; LibTorch's own are everywhere. And for
/// so small layers oneDNN's convolutions, which the CNN has, take twice as long in float32.
void choose_library(const Training& training) {
  const bool fp32 = training.precision == Precision::kFloat32;
  const bool by_libtorch = training.model == (fp32 ? "ResNet18" : "Lstm");
  at::globalContext().setUserEnabledMkldnn(!by_libtorch);
}

Communicator* g_communicator = nullptr;  // gtest hands nothing to a test
std::vector<std::string> g_references;   // [training]; each on the rank that made it

int rank_of_reference(std::size_t training, int world_size) {
  return static_cast<int>(training) % world_size;
}

/// By this rank alone, at stage 0, without activation checkpointing; empty where another makes it.
std::vector<std::string> references(const RankEnv& env) {
  World alone = World::create(RankEnv{}, WorldOptions{});
  std::vector<std::string> hashes;
  for (const Training& training : all_trainings()) {
    choose_library(training);
    const bool mine = rank_of_reference(hashes.size(), env.world_size) == env.rank;
    hashes.push_back(
        mine ? train(alone.communicator(), training.model, training.precision, 0, false) : "");
  }
  return hashes;
}

std::string reference_of(std::size_t training) {
  const int root = rank_of_reference(training, g_communicator->world_size());
  torch::Tensor letters = torch::zeros({32}, torch::kByte);
  if (g_communicator->rank() == root)
    letters.copy_(torch::from_blob(g_references.at(training).data(), {32}, torch::kByte));
  g_communicator->broadcast(letters, root).wait();
  return {reinterpret_cast<const char*>(letters.const_data_ptr()), 32};
}

struct Form {
  const char* name;
  int zero_stage;
  bool shared_memory;  // else stage 3 gathers the parameters
};

std::vector<Form> forms() {
  std::vector<Form> all = {
      {"Stage0", 0, true}, {"Stage1", 1, true}, {"Stage2", 2, true}, {"Stage3", 3, true}};
  const bool alone = RankEnv::from_environment().world_size == 1;  // nothing to gather
  if (!alone) all.push_back({"Stage3Gathered", 3, false});
  return all;
}

class Models : public testing::TestWithParam<std::tuple<std::size_t, Form>> {};

TEST_P(Models, HaveTheBitsOfOneRankAlone) {
  const auto& [index, form] = GetParam();
  const Training training = all_trainings()[index];
  const std::string expected = reference_of(index);
  choose_library(training);
  WatchedCommunicator communicator(*g_communicator, form.shared_memory);
  for (const bool checkpointing : {false, true}) {
    EXPECT_EQ(
        train(communicator, training.model, training.precision, form.zero_stage, checkpointing),
        expected)
        << (checkpointing ? "with" : "without") << " activation checkpointing";
  }
}

INSTANTIATE_TEST_SUITE_P(All, Models,
                         testing::Combine(testing::Range(std::size_t{0}, 2 * kModels.size()),
                                          testing::ValuesIn(forms())),
                         [](const auto& test) {
                           const Training training = all_trainings()[std::get<0>(test.param)];
                           const bool fp32 = training.precision == Precision::kFloat32;
                           return training.model + (fp32 ? "Fp32" : "Bf16") +
                                  std::get<1>(test.param).name;
                         });

}  // namespace
}  // namespace muster

int main(int argc, char** argv) {
  testing::InitGoogleTest(&argc, argv);
  torch::set_num_threads(1);
  muster::g_references = muster::references(muster::RankEnv::from_environment());
  muster::World world = muster::make_test_world(std::chrono::seconds(150));
  muster::g_communicator = &world.communicator();
  return RUN_ALL_TESTS();
}
