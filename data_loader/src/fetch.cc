// Errors of a dataset, put in words that lead to the sample.
#include "fetch.h"

#include <algorithm>
#include <exception>
#include <optional>
#include <string>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

constexpr std::size_t kMaxIdsNamed = 8;

std::string ids_text(std::span<const std::int64_t> sample_ids) {
  std::string text = sample_ids.size() == 1 ? "sample " : "samples ";
  for (std::size_t i = 0; i < std::min(sample_ids.size(), kMaxIdsNamed); ++i) {
    text += (i == 0 ? "" : ", ") + std::to_string(sample_ids[i]);
  }
  if (sample_ids.size() <= kMaxIdsNamed) return text;
  return text + ", ... (" + std::to_string(sample_ids.size()) + " in all)";
}

void check_contract(const Batch& batch, std::span<const std::int64_t> sample_ids) {
  if (!std::equal(batch.sample_ids.begin(), batch.sample_ids.end(), sample_ids.begin(),
                  sample_ids.end())) {
    throw UserError("expected Dataset::get() to return the sample ids it was asked for; found " +
                    std::to_string(batch.sample_ids.size()) +
                    " other ids. Set Batch::sample_ids in get()");
  }
  for (const auto& [name, tensor] : batch.tensors) {
    const bool fits = tensor.defined() && tensor.dim() >= 1 && tensor.size(0) == batch.size();
    if (fits) continue;
    throw UserError("expected " + std::to_string(batch.size()) + " rows in tensor \"" + name +
                    "\" of Dataset::get(); found " +
                    (tensor.defined() && tensor.dim() >= 1 ? std::to_string(tensor.size(0))
                                                           : std::string("none")) +
                    ". Return one row a sample");
  }
}

Batch get_checked(const Dataset& dataset, std::span<const std::int64_t> sample_ids) {
  Batch batch = dataset.get(sample_ids);
  check_contract(batch, sample_ids);
  return batch;
}

std::optional<std::int64_t> first_bad_sample(const Dataset& dataset,
                                             std::span<const std::int64_t> sample_ids) {
  for (const std::int64_t id : sample_ids) {
    try {
      get_checked(dataset, {&id, 1});
    } catch (...) {
      return id;  // its error has been seen with the whole batch
    }
  }
  return std::nullopt;
}

// To be called in a handler: throws the error being handled again, with `context` before its words.
[[noreturn]] void rethrow_with(const std::string& context) {
  try {
    throw;
  } catch (const ConfigError& error) {
    throw ConfigError(context + error.what());
  } catch (const DataError& error) {
    throw DataError(context + error.what());
  } catch (const InternalError& error) {
    throw InternalError(context + error.what());
  } catch (const UserError& error) {
    throw UserError(context + error.what());
  } catch (const Error& error) {
    throw Error(error.exit_code(), error.kind(), context + error.what());
  } catch (const std::exception& error) {
    throw UserError(context + error.what());
  } catch (...) {
    throw UserError(context + "an exception that is no std::exception");
  }
}

}  // namespace

Batch fetch(const Dataset& dataset, std::span<const std::int64_t> sample_ids, std::int64_t epoch,
            std::int64_t position) {
  try {
    return get_checked(dataset, sample_ids);
  } catch (...) {
    std::string context = "cannot read " + ids_text(sample_ids) + " (epoch " +
                          std::to_string(epoch) + ", position " + std::to_string(position) + ")";
    if (sample_ids.size() > 1) {
      const std::optional<std::int64_t> bad = first_bad_sample(dataset, sample_ids);
      context += bad ? ", of which " + std::to_string(*bad) + " is the first that fails alone"
                     : ", each of which can be read alone";
    }
    rethrow_with(context + ": ");
  }
}

}  // namespace muster::internal
