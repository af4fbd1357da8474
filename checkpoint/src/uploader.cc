// The uploading thread.
#include "muster/checkpoint/uploader.h"

#include <utility>

#include "muster/base/error.h"
#include "muster/checkpoint/layout.h"

namespace muster::checkpoint {

Uploader::Uploader(ObjectStore& store) : store_(store), thread_([this] { run(); }) {}

Uploader::~Uploader() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  store_.stop();
  thread_.join();
}

void Uploader::start(std::int64_t step, std::filesystem::path path, Retention retention) {
  {
    const std::lock_guard lock(mutex_);
    waiting_ = Job{step, std::move(path), std::move(retention)};
  }
  changed_.notify_all();
}

std::vector<std::int64_t> Uploader::steps_in_use() const {
  const std::lock_guard lock(mutex_);
  std::vector<std::int64_t> steps;
  for (const auto& job : {running_, waiting_}) {
    if (!job) continue;
    steps.push_back(job->step);
    if (job->retention.keep_step) steps.push_back(*job->retention.keep_step);
  }
  return steps;
}

Uploader::Failures Uploader::take_failures() {
  const std::lock_guard lock(mutex_);
  return {failures_.in_a_row, std::exchange(failures_.message, "")};
}

bool Uploader::failed() const {
  const std::lock_guard lock(mutex_);
  return !failures_.message.empty();
}

std::int64_t Uploader::uploaded() const {
  const std::lock_guard lock(mutex_);
  return uploaded_;
}

bool Uploader::wait_for(std::chrono::milliseconds time) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, time, [this] { return !running_ && !waiting_; });
}

void Uploader::run() {
  std::unique_lock lock(mutex_);
  while (true) {
    changed_.wait(lock, [this] { return stopping_ || waiting_; });
    if (stopping_) return;
    running_ = std::exchange(waiting_, std::nullopt);
    const Job job = *running_;
    lock.unlock();
    std::string error = upload(job);
    lock.lock();
    running_.reset();
    if (error.empty()) {
      ++uploaded_;
      failures_.in_a_row = 0;
    } else {
      ++failures_.in_a_row;
      failures_.message = std::move(error);
    }
    changed_.notify_all();
  }
}

std::string Uploader::upload(const Job& job) {
  try {
    const std::int64_t best = job.retention.keep_step.value_or(job.step);
    if (best != job.step && best != best_there_)
      store_.upload(job.path.parent_path() / step_directory_name(best));
    store_.upload(job.path);
    best_there_ = best;
    store_.retain(job.retention);
    return "";
  } catch (const Error& error) {
    return "uploading " + step_directory_name(job.step) + ": " + error.what();
  }
}

}  // namespace muster::checkpoint
