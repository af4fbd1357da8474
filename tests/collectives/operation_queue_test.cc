// Order, threads and errors of queued operations, on a transport that only takes notes.
#include "operation_queue.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <future>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::ElementsAre;

// What a NotingTransport saw; outlives it.
struct Notes {
  std::mutex mutex;
  std::vector<std::int64_t> numels;
  std::vector<std::uint64_t> sequences;
  std::vector<std::thread::id> threads;
  bool gave_up = false;
  std::promise<void> release;  // what an operation of kBlocks elements waits for
  std::shared_future<void> released{release.get_future()};
};

constexpr std::int64_t kFails = -1;
constexpr std::int64_t kBlocks = -2;
constexpr std::int64_t kBlocksUntilAbandoned = -3;

class NotingTransport : public Transport {
 public:
  explicit NotingTransport(std::shared_ptr<Notes> notes) : notes_(std::move(notes)) {}

  void run(const OperationRun& run) override {
    const std::int64_t numel = run.operation().signature.numel;
    if (numel == kBlocks) notes_->released.wait();
    while (numel == kBlocksUntilAbandoned) run.check_wanted();
    std::lock_guard<std::mutex> lock(notes_->mutex);
    notes_->numels.push_back(numel);
    notes_->sequences.push_back(run.sequence());
    notes_->threads.push_back(std::this_thread::get_id());
    if (numel == kFails) throw PeerLost("noted");
  }
  void give_up() noexcept override { notes_->gave_up = true; }
  std::shared_ptr<std::byte> allocate_symmetric(std::int64_t bytes) override {
    return allocate_zeroed(bytes);
  }

 private:
  std::shared_ptr<Notes> notes_;
};

class OperationQueueTest : public ::testing::Test {
 protected:
  ~OperationQueueTest() override { queue_->stop(); }

  std::shared_ptr<WorkState> submit(std::int64_t numel) {
    Operation operation;
    operation.signature.numel = numel;
    return queue_->submit(std::move(operation), {});
  }

  std::shared_ptr<Notes> notes_ = std::make_shared<Notes>();
  std::shared_ptr<OperationQueue> queue_ = OperationQueue::start(
      std::make_unique<NotingTransport>(notes_), std::chrono::milliseconds(10000));
};

TEST_F(OperationQueueTest, RunsInIssueOrderWhateverIsWaitedFor) {
  std::vector<std::shared_ptr<WorkState>> works;
  for (int i = 0; i < 5; ++i) works.push_back(submit(i));
  works[4]->wait();
  EXPECT_THAT(notes_->numels, ElementsAre(0, 1, 2, 3, 4));
  EXPECT_THAT(notes_->sequences, ElementsAre(0u, 1u, 2u, 3u, 4u));
  for (const auto& work : works) EXPECT_TRUE(work->done());
}

TEST_F(OperationQueueTest, MakesProgressWithoutAWaiter) {
  const auto work = submit(1);
  while (!work->done()) std::this_thread::yield();
  EXPECT_NE(notes_->threads.at(0), std::this_thread::get_id());
}

TEST_F(OperationQueueTest, RunsOnTheWaitersThreadWhenItComesFirst) {
  // The progress thread may be faster now and then.
  int on_this_thread = 0;
  for (int i = 0; i < 200; ++i) {
    submit(i)->wait();
    if (notes_->threads.back() == std::this_thread::get_id()) ++on_this_thread;
  }
  EXPECT_GT(on_this_thread, 0);
}

TEST_F(OperationQueueTest, DoesNotWaitForALaterOperation) {
  const auto first = submit(1);
  const auto blocked = submit(kBlocks);
  first->wait();
  EXPECT_FALSE(blocked->done());
  notes_->release.set_value();
  blocked->wait();
}

TEST_F(OperationQueueTest, KeepsTheFirstErrorForAllLaterOperations) {
  submit(1)->wait();
  const auto failing = submit(kFails);
  const auto behind = submit(2);
  EXPECT_THROW(failing->wait(), PeerLost);
  EXPECT_THROW(failing->wait(), PeerLost);
  EXPECT_THROW(behind->wait(), PeerLost);
  const auto later = submit(3);
  EXPECT_TRUE(later->done());
  EXPECT_THROW(later->wait(), PeerLost);
  EXPECT_TRUE(notes_->gave_up);
  EXPECT_THAT(notes_->numels, ElementsAre(1, kFails));
}

TEST_F(OperationQueueTest, AbandonsWhatHasNotEndedWhenStopped) {
  const auto running = submit(kBlocksUntilAbandoned);
  const auto behind = submit(1);
  queue_->stop();
  EXPECT_THROW(running->wait(), InternalError);
  EXPECT_THROW(behind->wait(), InternalError);
  EXPECT_THAT(notes_->numels, ElementsAre());
}

}  // namespace
}  // namespace muster::internal
