// The loader's order and its resume at any split.
#include "muster/data_loader/data_loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <string>
#include <tuple>
#include <vector>

#include "data_loader/number_dataset.h"
#include "muster/base/error.h"
#include "muster/data_loader/sampler.h"

namespace muster {
namespace {

using std::chrono::milliseconds;
using Ids = std::vector<std::int64_t>;

// Which micro-batch of the job: epoch, step position, logical rank, micro-step.
using Key = std::tuple<std::int64_t, std::int64_t, int, std::int64_t>;
using Delivered = std::map<Key, Ids>;

Key key_of(const MicroBatch& micro_batch) {
  return {micro_batch.epoch, micro_batch.step_position, micro_batch.logical_rank,
          micro_batch.micro_step};
}

std::vector<LoaderOptions> split(LoaderOptions options, int world_size) {
  std::vector<LoaderOptions> ranks;
  for (int rank = 0; rank < world_size; ++rank) {
    options.first_logical_rank = rank * options.logical_ranks / world_size;
    options.end_logical_rank = (rank + 1) * options.logical_ranks / world_size;
    ranks.push_back(options);
  }
  return ranks;
}

int calls_per_step(const LoaderOptions& options) {
  return (options.end_logical_rank - options.first_logical_rank) *
         static_cast<int>(options.accumulation_steps);
}

void check_values(const MicroBatch& micro_batch) {
  if (micro_batch.batch.size() == 0) {
    ASSERT_TRUE(micro_batch.batch.tensors.empty());
    return;
  }
  const at::Tensor& values = micro_batch.batch["value"];
  for (std::int64_t i = 0; i < micro_batch.batch.size(); ++i) {
    ASSERT_EQ(values.const_data_ptr<std::int64_t>()[i],
              10 * micro_batch.batch.sample_ids[static_cast<std::size_t>(i)]);
  }
}

void deliver_step(DataLoader& loader, const LoaderOptions& options, Delivered& delivered) {
  for (int call = 0; call < calls_per_step(options); ++call) {
    const MicroBatch micro_batch = loader.next();
    ASSERT_NO_FATAL_FAILURE(check_values(micro_batch));
    ASSERT_TRUE(delivered.emplace(key_of(micro_batch), micro_batch.batch.sample_ids).second);
  }
}

// What the contract promises, from the pure parts alone.
Delivered expected(std::int64_t samples, const LoaderOptions& options, std::int64_t epochs) {
  const Sampler sampler(samples, options.seed, options.shuffle);
  const std::int64_t global_batch =
      options.logical_ranks * options.accumulation_steps * options.micro_batch;
  Delivered all;
  for (std::int64_t epoch = 0; epoch < epochs; ++epoch) {
    for (std::int64_t begin = 0; begin < samples; begin += global_batch) {
      if (options.drop_last && begin + global_batch > samples) break;
      std::int64_t position = begin;
      for (int l = 0; l < options.logical_ranks; ++l) {
        for (std::int64_t m = 0; m < options.accumulation_steps; ++m) {
          Ids& ids = all[{epoch, begin, l, m}];
          for (std::int64_t i = 0; i < options.micro_batch && position < samples; ++i) {
            ids.push_back(sampler.sample(epoch, position++));
          }
        }
      }
    }
  }
  return all;
}

void expect_once_an_epoch(const Delivered& delivered, std::int64_t samples, bool drop_last,
                          std::int64_t global_batch, std::int64_t epochs) {
  std::map<std::int64_t, Ids> by_epoch;
  for (const auto& [key, ids] : delivered) {
    Ids& all = by_epoch[std::get<0>(key)];
    all.insert(all.end(), ids.begin(), ids.end());
  }
  ASSERT_EQ(static_cast<std::int64_t>(by_epoch.size()), epochs);
  const std::int64_t left_out = drop_last ? samples % global_batch : 0;
  for (auto& [epoch, ids] : by_epoch) {
    ASSERT_EQ(static_cast<std::int64_t>(ids.size()), samples - left_out);
    std::sort(ids.begin(), ids.end());
    ASSERT_EQ(std::adjacent_find(ids.begin(), ids.end()), ids.end()) << "epoch " << epoch;
  }
}

void check_all_world_sizes(std::int64_t samples, const LoaderOptions& options) {
  constexpr std::int64_t kEpochs = 2;
  const Delivered promised = expected(samples, options, kEpochs);
  for (int world_size = 1; world_size <= options.logical_ranks; ++world_size) {
    Delivered delivered;
    for (const LoaderOptions& rank : split(options, world_size)) {
      DataLoader loader(numbers(samples), rank);
      for (std::int64_t step = 0; step < kEpochs * loader.steps_per_epoch(); ++step) {
        ASSERT_NO_FATAL_FAILURE(deliver_step(loader, rank, delivered));
      }
      ASSERT_EQ(loader.state(), (LoaderState{kEpochs, 0}));
    }
    ASSERT_EQ(delivered, promised) << "world size " << world_size;
    const std::int64_t global_batch =
        options.logical_ranks * options.accumulation_steps * options.micro_batch;
    ASSERT_NO_FATAL_FAILURE(
        expect_once_an_epoch(delivered, samples, options.drop_last, global_batch, kEpochs));
  }
}

TEST(DataLoaderTest, EverySampleOnceAnEpochAndTheSameForEveryWorldSize) {
  for (const std::int64_t samples : {1, 2, 5, 8, 12, 13}) {
    for (int logical_ranks = 1; logical_ranks <= 4; ++logical_ranks) {
      for (const std::int64_t accumulation_steps : {1, 2}) {
        for (const std::int64_t micro_batch : {1, 3}) {
          for (const bool drop_last : {false, true}) {
            if (drop_last && samples < logical_ranks * accumulation_steps * micro_batch) continue;
            SCOPED_TRACE(testing::Message()
                         << samples << " samples, L " << logical_ranks << ", A "
                         << accumulation_steps << ", B " << micro_batch << ", drop " << drop_last);
            ASSERT_NO_FATAL_FAILURE(
                check_all_world_sizes(samples, {.logical_ranks = logical_ranks,
                                                .accumulation_steps = accumulation_steps,
                                                .micro_batch = micro_batch,
                                                .seed = 3,
                                                .drop_last = drop_last,
                                                .prefetch_batches = 3}));
          }
        }
      }
    }
  }
}

TEST(DataLoaderTest, TheDescriptionOfAMicroBatchFits) {
  DataLoader loader(numbers(7), {.logical_ranks = 2,
                                 .end_logical_rank = 2,
                                 .accumulation_steps = 1,
                                 .micro_batch = 3,
                                 .shuffle = false});
  EXPECT_EQ(loader.global_batch(), 6);
  EXPECT_EQ(loader.steps_per_epoch(), 2);
  loader.next();
  const MicroBatch second = loader.next();
  EXPECT_EQ(second.logical_rank, 1);
  EXPECT_EQ(second.position, 3);
  EXPECT_EQ(second.step_position, 0);
  EXPECT_EQ(second.step_samples, 6);
  EXPECT_EQ(second.batch.sample_ids, (Ids{3, 4, 5}));
  const MicroBatch ragged = loader.next();
  EXPECT_EQ(ragged.step_samples, 1);
  EXPECT_EQ(ragged.batch.sample_ids, (Ids{6}));
  const MicroBatch empty = loader.next();
  EXPECT_EQ(empty.batch.size(), 0);
  EXPECT_EQ(empty.position, 7);
  EXPECT_EQ(loader.next().epoch, 1);
}

TEST(DataLoaderTest, StateInTheMiddleOfAStepIsItsBeginning) {
  DataLoader loader(numbers(10), {.accumulation_steps = 2, .micro_batch = 2});
  EXPECT_EQ(loader.state(), (LoaderState{0, 0}));
  loader.next();
  EXPECT_EQ(loader.state(), (LoaderState{0, 0}));
  loader.next();
  EXPECT_EQ(loader.state(), (LoaderState{0, 4}));
}

// Saved after every step, at every world size, and continued at every other.
TEST(DataLoaderTest, AnyStepContinuesTheSameAtAnyWorldSize) {
  constexpr std::int64_t kSamples = 11;
  constexpr std::int64_t kEpochs = 3;
  const LoaderOptions options{
      .logical_ranks = 3, .accumulation_steps = 2, .micro_batch = 1, .seed = 8};
  const Delivered promised = expected(kSamples, options, kEpochs);
  const std::int64_t steps = kEpochs * 2;
  for (int before = 1; before <= 3; ++before) {
    for (int after = 1; after <= 3; ++after) {
      for (std::int64_t saved_at = 0; saved_at <= steps; ++saved_at) {
        Delivered delivered;
        LoaderState state;
        for (const LoaderOptions& rank : split(options, before)) {
          DataLoader loader(numbers(kSamples), rank);
          for (std::int64_t step = 0; step < saved_at; ++step) {
            ASSERT_NO_FATAL_FAILURE(deliver_step(loader, rank, delivered));
          }
          state = loader.state();
        }
        for (const LoaderOptions& rank : split(options, after)) {
          DataLoader loader(numbers(kSamples), rank);
          loader.restore(state);
          ASSERT_EQ(loader.state(), state);
          for (std::int64_t step = saved_at; step < steps; ++step) {
            ASSERT_NO_FATAL_FAILURE(deliver_step(loader, rank, delivered));
          }
        }
        ASSERT_EQ(delivered, promised) << before << " to " << after << " at " << saved_at;
      }
    }
  }
}

TEST(DataLoaderTest, TheEndOfAnEpochIsTheBeginningOfTheNext) {
  DataLoader loader(numbers(5), {.micro_batch = 2});
  loader.restore({4, 5});
  EXPECT_EQ(loader.state(), (LoaderState{5, 0}));
  EXPECT_EQ(loader.next().epoch, 5);
  DataLoader dropping(numbers(5), {.micro_batch = 2, .drop_last = true});
  dropping.restore({4, 4});
  EXPECT_EQ(dropping.state(), (LoaderState{5, 0}));
}

TEST(DataLoaderTest, AnotherBatchSizeContinuesWithTheSamplesNotYetSeen) {
  constexpr std::int64_t kSamples = 50;
  Ids seen;
  DataLoader small(numbers(kSamples), {.micro_batch = 3});
  for (int step = 0; step < 5; ++step) {
    for (const std::int64_t id : small.next().batch.sample_ids) seen.push_back(id);
  }
  DataLoader large(numbers(kSamples), {.micro_batch = 8});
  large.restore(small.state());
  while (large.state().epoch == 0) {
    for (const std::int64_t id : large.next().batch.sample_ids) seen.push_back(id);
  }
  std::sort(seen.begin(), seen.end());
  ASSERT_EQ(seen.size(), static_cast<std::size_t>(kSamples));
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
}

TEST(DataLoaderTest, RestoreDropsWhatIsPreparedAgainAndAgain) {
  DataLoader loader(numbers(100), {.micro_batch = 1, .shuffle = false});
  for (std::int64_t round = 0; round < 500; ++round) {
    const std::int64_t position = round * 37 % 100;
    loader.restore({round, position});
    if (round % 3 == 0) continue;  // restored again while something is in preparation
    const MicroBatch micro_batch = loader.next();
    ASSERT_EQ(micro_batch.epoch, round);
    ASSERT_EQ(micro_batch.batch.sample_ids, Ids{position});
  }
}

TEST(DataLoaderTest, ForeignStatesAreRefusedAndChangeNothing) {
  DataLoader loader(numbers(5), {.micro_batch = 1, .shuffle = false});
  loader.next();
  EXPECT_THROW(loader.restore({0, 6}), ConfigError);
  EXPECT_THROW(loader.restore({0, -1}), ConfigError);
  EXPECT_THROW(loader.restore({-1, 0}), ConfigError);
  EXPECT_EQ(loader.next().batch.sample_ids, Ids{1});
}

TEST(DataLoaderTest, AllProblemsOfTheOptionsAreToldAtOnce) {
  try {
    DataLoader loader(numbers(5), {.logical_ranks = 2,
                                   .first_logical_rank = 1,
                                   .end_logical_rank = 3,
                                   .micro_batch = 0,
                                   .prefetch_batches = 0,
                                   .timeout = milliseconds(0)});
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    for (const char* name :
         {"micro_batch", "hosted logical ranks", "prefetch_batches", "timeout"}) {
      EXPECT_NE(message.find(name), std::string::npos) << message;
    }
  }
  EXPECT_THROW(DataLoader(nullptr, {}), ConfigError);
  EXPECT_THROW(DataLoader(numbers(0), {}), ConfigError);
}

}  // namespace
}  // namespace muster
