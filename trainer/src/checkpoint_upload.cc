// Collective calls around one rank's store.
#include "checkpoint_upload.h"

#include <algorithm>
#include <chrono>
#include <future>
#include <utility>

#include "muster/base/error.h"
#include "muster/base/log.h"
#include "muster/checkpoint/layout.h"
#include "run_together.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {}  // namespace

CheckpointUpload::CheckpointUpload(std::string url, const RankEnv& rank_env,
                                   Communicator& communicator, std::int64_t failures_allowed)
    : rank_env_(rank_env), communicator_(communicator), failures_allowed_(failures_allowed) {
  if (rank_env_.rank != 0) return;
  store_.emplace(std::move(url));
  uploader_.emplace(*store_);
}

void CheckpointUpload::require_empty() {
  run_together(communicator_, [&] {
    if (rank_env_.rank != 0) return;
    const auto found = store_->newest();
    if (!found) return;
    throw ConfigError("--fresh: expected no checkpoints in " + store_->url() + ", found " +
                      found->path +
                      ", from which a resume would go on; give --checkpoint-upload another place, "
                      "or delete them there");
  });
}

Json CheckpointUpload::newer_than(std::int64_t step) {
  try {
    const auto found = store_->newest(before_);
    if (!found) return {};
    newest_there_ = std::max(newest_there_, found->step);
    if (found->step <= step) return {};
    return {{"step", found->step}, {"path", found->path}, {"run_state", found->run_state}};
  } catch (const CheckpointError& error) {
    if (rank_env_.generation == 0 || step == 0) throw;  // nothing is begun anew in the dark
    MUSTER_LOG(WARNING) << "the object store is not asked for newer checkpoints: " << error.what();
    return {};
  }
}

void CheckpointUpload::download(const Json& found, std::optional<std::int64_t> needed_step,
                                const std::filesystem::path& directory) {
  const auto fetch = [&](std::int64_t step) {
    const std::string name = checkpoint::step_directory_name(step);
    const std::string path = store_->url() + "/" + name;
    if (step == needed_step && std::filesystem::exists(directory / name)) return;
    store_->fetch({.step = step, .path = path}, directory);
    MUSTER_LOG(INFO) << "downloaded " << path << " to " << directory.string();
  };
  if (needed_step) fetch(*needed_step);
  fetch(found.at("step").get<std::int64_t>());
}

bool CheckpointUpload::fetch_newer(std::int64_t step, const std::filesystem::path& directory,
                                   const Check& check, const checkpoint::NeededStep& needed_step) {
  while (true) {
    Json found;
    run_together(communicator_, [&] {
      if (rank_env_.rank == 0) found = newer_than(step);
    });
    found = parse_json(broadcast_text(communicator_, found.dump()), "the store's newest");
    if (found.is_null()) return false;
    before_ = found.at("step").get<std::int64_t>();
    check(found.at("run_state"), found.at("path").get<std::string>());
    std::future<void> work;
    if (rank_env_.rank == 0) {
      work = std::async(std::launch::async,
                        [&] { download(found, needed_step(found.at("run_state")), directory); });
    }
    wait_for_rank_0(communicator_,
                    [&] { return work.wait_for(kRank0Sign) == std::future_status::ready; });
    std::string problem;
    try {
      if (work.valid()) work.get();
    } catch (const Error& error) {
      problem = error.what();
      MUSTER_LOG(WARNING) << found.at("path").get<std::string>() << " is not used: " << problem;
    }
    if (broadcast_text(communicator_, problem).empty()) return true;
  }
}

void CheckpointUpload::start(std::int64_t step, const std::filesystem::path& path,
                             const checkpoint::Retention& retention) {
  uploader_->start(step, path, retention);
}

void CheckpointUpload::catch_up(std::int64_t step, const std::filesystem::path& path,
                                const checkpoint::Retention& retention) {
  if (step > newest_there_) start(step, path, retention);
}

std::vector<std::int64_t> CheckpointUpload::steps_in_use() const {
  return uploader_->steps_in_use();
}

bool CheckpointUpload::failed() const { return uploader_ && uploader_->failed(); }

void CheckpointUpload::settle() {
  Json told;
  if (uploader_) {
    const checkpoint::Uploader::Failures failures = uploader_->take_failures();
    told = {{"in_a_row", failures.in_a_row}, {"message", failures.message}};
  }
  told = parse_json(broadcast_text(communicator_, told.dump()), "failed uploads");
  const std::string message = told.at("message").get<std::string>();
  if (message.empty()) return;
  const auto in_a_row = told.at("in_a_row").get<std::int64_t>();
  const std::string row = message + "; " + std::to_string(in_a_row) + " in a row, " +
                          std::to_string(failures_allowed_) + " allowed (--checkpoint-failures)";
  if (in_a_row > failures_allowed_) throw CheckpointError(row);
  if (rank_env_.rank == 0)
    MUSTER_LOG(WARNING) << "a checkpoint was not uploaded, training goes on: " << row;
}

void CheckpointUpload::finish() {
  wait_for_rank_0(communicator_, [&] { return uploader_->wait_for(kRank0Sign); });
  failures_allowed_ = 0;
  settle();
  if (uploader_ && uploader_->uploaded() > 0) {
    MUSTER_LOG(INFO) << uploader_->uploaded() << " checkpoints uploaded to " << store_->url();
  }
}

}  // namespace muster::internal
