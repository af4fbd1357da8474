// Leases of buffers.
#include "bucket_ring.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

namespace muster::internal {

namespace {

std::int64_t largest_bucket(const FlatLayout& layout) {
  std::int64_t largest = 0;
  for (const Bucket& bucket : layout.buckets) largest = std::max(largest, bucket.range.numel());
  return largest;
}

}  // namespace

std::int64_t BucketRing::numel(const FlatLayout& layout) {
  const std::size_t buffers = std::min(kBuffers, layout.buckets.size());
  return largest_bucket(layout) * static_cast<std::int64_t>(buffers);
}

BucketRing::BucketRing(const FlatLayout& layout, Communicator& communicator) : layout_(layout) {
  const std::int64_t largest = largest_bucket(layout);
  for (std::size_t i = 0; i < std::min(kBuffers, layout.buckets.size()); ++i) {
    free_.push_back(communicator.allocate_symmetric(largest, at::kFloat));
    options_ = free_.back().options();
  }
}

at::Tensor BucketRing::bucket(std::size_t bucket) {
  for (const Lease& lease : leases_) {
    if (lease.bucket == bucket) return lease.memory;
  }
  const std::int64_t numel = layout_.buckets[bucket].range.numel();
  Lease lease{bucket, {}, take_buffer(), std::nullopt};
  lease.memory =
      lease.buffer.defined() ? lease.buffer.narrow(0, 0, numel) : at::empty({numel}, options_);
  clear_padding(bucket, lease.memory);
  leases_.push_back(std::move(lease));
  return leases_.back().memory;
}

// Undefined when all are in use and none is being reduced.
at::Tensor BucketRing::take_buffer() {
  const auto ended = [](const Lease& lease) { return lease.work && lease.work->done(); };
  if (free_.empty()) give_back_if(ended);
  if (free_.empty()) {
    const auto oldest = std::find_if(leases_.begin(), leases_.end(), [](const Lease& lease) {
      return lease.work && lease.buffer.defined();
    });
    if (oldest == leases_.end()) return {};
    oldest->work->wait();
    give_back_if(ended);
  }
  at::Tensor buffer = std::move(free_.back());
  free_.pop_back();
  return buffer;
}

void BucketRing::clear_padding(std::size_t bucket, at::Tensor& memory) const {
  const Bucket& described = layout_.buckets[bucket];
  for (std::size_t i = 0; i < described.parameters.size(); ++i) {
    const bool last = i + 1 == described.parameters.size();
    const std::int64_t begin = layout_.parameters[described.parameters[i]].end;
    const std::int64_t end =
        last ? described.range.end : layout_.parameters[described.parameters[i + 1]].begin;
    if (end > begin) memory.narrow(0, begin - described.range.begin, end - begin).zero_();
  }
}

void BucketRing::reducing(std::size_t bucket, const Work& work) {
  for (Lease& lease : leases_) {
    if (lease.bucket == bucket) lease.work = work;
  }
}

template <typename Condition>
void BucketRing::give_back_if(const Condition& condition) {
  for (Lease& lease : leases_) {
    if (condition(lease) && lease.buffer.defined()) free_.push_back(std::move(lease.buffer));
  }
  std::erase_if(leases_, [&](const Lease& lease) { return condition(lease); });
}

void BucketRing::reset() {
  for (Lease& lease : leases_) {
    if (lease.work) lease.work->wait();
  }
  give_back_if([](const Lease&) { return true; });
}

}  // namespace muster::internal
