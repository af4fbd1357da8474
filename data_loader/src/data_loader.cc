// Checks the options and hands over to the pipeline.
#include "muster/data_loader/data_loader.h"

#include <string>
#include <utility>

#include "loader_pipeline.h"
#include "muster/base/error.h"

namespace muster {
namespace {

BatchPlan plan_of(const Dataset& dataset, const LoaderOptions& options) {
  return {.samples = dataset.size(),
          .logical_ranks = options.logical_ranks,
          .accumulation_steps = options.accumulation_steps,
          .micro_batch = options.micro_batch,
          .drop_last = options.drop_last};
}

void validate(const LoaderOptions& options, const BatchPlan& plan) {
  std::string problems;
  const auto add = [&problems](const std::string& problem) {
    problems += (problems.empty() ? "" : "\n") + problem;
  };
  try {
    plan.validate();
  } catch (const ConfigError& error) {
    add(error.what());
  }
  if (options.first_logical_rank < 0 || options.first_logical_rank >= options.end_logical_rank ||
      options.end_logical_rank > options.logical_ranks) {
    add("hosted logical ranks: expected a run within 0 to " +
        std::to_string(options.logical_ranks) + " that is not empty; found " +
        std::to_string(options.first_logical_rank) + " to " +
        std::to_string(options.end_logical_rank) + ". Take them from assign_logical_ranks()");
  }
  if (options.prefetch_batches < 1) {
    add("prefetch_batches: expected at least 1; found " + std::to_string(options.prefetch_batches) +
        ". Raise it");
  }
  if (options.timeout.count() < 1) {
    add("timeout: expected at least 1 ms; found " + std::to_string(options.timeout.count()) +
        ". Raise it");
  }
  if (!problems.empty()) throw ConfigError(problems);
}

}  // namespace

DataLoader::DataLoader(std::shared_ptr<const Dataset> dataset, LoaderOptions options) {
  if (!dataset) throw ConfigError("data loader: expected a dataset; found none. Give it one");
  const BatchPlan plan = plan_of(*dataset, options);
  validate(options, plan);
  pipeline_ = std::make_unique<internal::LoaderPipeline>(std::move(dataset), options, plan);
}

DataLoader::~DataLoader() = default;

MicroBatch DataLoader::next() { return pipeline_->next(); }

LoaderState DataLoader::state() const { return pipeline_->state(); }

void DataLoader::restore(LoaderState state) {
  const std::int64_t samples = plan().samples;
  if (state.epoch < 0 || state.position < 0 || state.position > samples) {
    throw ConfigError(
        "data loader: expected a state of this dataset (epoch 0 or more, position 0 to " +
        std::to_string(samples) + "); found epoch " + std::to_string(state.epoch) + ", position " +
        std::to_string(state.position) + ". Resume with the dataset that the job was started with");
  }
  pipeline_->restart(state);
}

std::int64_t DataLoader::steps_per_epoch() const { return plan().steps_per_epoch(); }

std::int64_t DataLoader::global_batch() const { return plan().global_batch(); }

const BatchPlan& DataLoader::plan() const { return pipeline_->plan(); }

}  // namespace muster
