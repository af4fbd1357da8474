// A world of one rank, and what every communicator refuses.
#include "muster/collectives/communicator.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>
#include <ATen/native/Resize.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "collectives/checks/operation_checks.h"
#include "muster/base/error.h"
#include "queued_communicator.h"
#include "single_transport.h"

namespace muster::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

class SingleRank : public ::testing::Test {
 protected:
  SingleRank() { at::set_num_threads(1); }

  template <typename Call>
  std::string refusal(const Call& call) {
    try {
      call();
    } catch (const ConfigError& error) {
      return error.what();
    }
    ADD_FAILURE() << "nothing was refused";
    return "";
  }

  internal::QueuedCommunicator queued_{0, 1, std::make_unique<internal::SingleTransport>(), "",
                                       std::chrono::seconds(10)};
  Communicator& communicator_ = queued_;
};

TEST_F(SingleRank, DoesEveryOperation) {
  for (const at::ScalarType dtype : kReducibleDtypes) check_all_operations(communicator_, dtype);
  check_asynchronous(communicator_);
}

TEST_F(SingleRank, RefusesWhatIsNotContiguous) {
  const at::Tensor transposed = at::zeros({3, 4}).t();
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(transposed); }),
              AllOf(HasSubstr("all_reduce: expected a contiguous tensor"), HasSubstr("[4, 3]")));
}

// Their memory does not hold their values.
TEST_F(SingleRank, RefusesViewsWithValuesYetToBeComputed) {
  const at::Tensor conjugate = at::ones({3}, at::kComplexFloat).conj();
  EXPECT_THAT(refusal([&] { communicator_.broadcast(conjugate, 0); }),
              AllOf(HasSubstr("broadcast: expected a tensor whose values are in its memory"),
                    HasSubstr("a conjugated view"), HasSubstr("tensor.resolve_conj()")));
  const at::Tensor negative = at::_neg_view(at::ones({3}));
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(negative); }),
              AllOf(HasSubstr("all_reduce"), HasSubstr("a negated view"),
                    HasSubstr("tensor.resolve_neg()")));
  EXPECT_THAT(refusal([&] { communicator_.broadcast(at::_efficientzerotensor({3}), 0); }),
              AllOf(HasSubstr("broadcast"), HasSubstr("zeros without memory")));
  const auto window = communicator_.open_window(3, at::kComplexFloat);
  EXPECT_THAT(refusal([&] { window->read(0, 0, conjugate); }), HasSubstr("resolve_conj()"));
}

// As whoever shards parameters frees those that are not needed: the tensor keeps its sizes.
TEST_F(SingleRank, RefusesTensorsWhoseMemoryWasGivenBack) {
  const at::Tensor freed = at::ones({3});
  at::native::resize_bytes_cpu(freed.storage().unsafeGetStorageImpl(), 0);
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(freed); }),
              AllOf(HasSubstr("all_reduce: expected a tensor whose values are in its memory"),
                    HasSubstr("one without memory")));
  const auto window = communicator_.open_window(3, at::kFloat);
  EXPECT_THAT(refusal([&] { window->read(0, 0, freed); }), HasSubstr("without memory"));
}

TEST_F(SingleRank, RefusesMoreElementsThanAnyMemoryHas) {
  for (const std::int64_t numel : {std::int64_t{1} << 62, std::int64_t{1} << 61}) {
    EXPECT_THAT(refusal([&] { communicator_.allocate_symmetric(numel, at::kFloat); }),
                AllOf(HasSubstr("allocate_symmetric: expected"), HasSubstr(std::to_string(numel))));
    EXPECT_THAT(refusal([&] { communicator_.allocate_shared(numel, at::kFloat); }),
                HasSubstr("allocate_shared: expected"));
    EXPECT_THAT(refusal([&] { communicator_.open_window(numel, at::kFloat); }),
                HasSubstr("open_window: expected"));
  }
  communicator_.barrier().wait();
}

// Not till some moment in the past, which is what the sum of the clock and such a time comes to.
TEST_F(SingleRank, WaitsForAsLongAsCanBeSaid) {
  for (const auto time : {std::chrono::milliseconds::max(), std::chrono::milliseconds::max() / 2}) {
    EXPECT_TRUE(communicator_.barrier().wait_for(time));
  }
  for (const auto time : {std::chrono::milliseconds::min(), std::chrono::milliseconds(-1)}) {
    Work work = communicator_.barrier();
    work.wait_for(time);
    work.wait();
    EXPECT_TRUE(work.wait_for(time));
  }
}

TEST_F(SingleRank, RefusesUndefinedTensors) {
  EXPECT_THAT(refusal([&] { communicator_.broadcast(at::Tensor(), 0); }),
              HasSubstr("broadcast: expected a tensor, found an undefined one"));
}

TEST_F(SingleRank, RefusesDtypesItCannotReduce) {
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(at::zeros({3}, at::kComplexFloat)); }),
              AllOf(HasSubstr("expected float32, float64, float16"), HasSubstr("ComplexFloat")));
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(at::zeros({3}, at::kInt), ReduceOp::kAvg); }),
              AllOf(HasSubstr("a floating-point dtype to be averaged"), HasSubstr("Int")));
  EXPECT_THAT(refusal([&] { communicator_.all_reduce(at::zeros({3}), ReduceOp::kBitOr); }),
              AllOf(HasSubstr("whose bits can be combined"), HasSubstr("Float")));
  EXPECT_THAT(refusal([&] {
                communicator_.canonical_all_reduce({at::zeros({3}, at::kBFloat16)},
                                                   ReductionTree(1));
              }),
              AllOf(HasSubstr("canonical_all_reduce"), HasSubstr("BFloat16")));
}

TEST_F(SingleRank, RefusesWrongNumbersOfElements) {
  EXPECT_THAT(refusal([&] { communicator_.all_gather(at::zeros({5}), at::zeros({3})); }),
              AllOf(HasSubstr("all_gather"), HasSubstr("5 elements and 3 elements")));
  EXPECT_THAT(refusal([&] { communicator_.reduce_scatter(at::zeros({5}), at::zeros({3})); }),
              HasSubstr("reduce_scatter"));
}

TEST_F(SingleRank, RefusesTwoDtypes) {
  EXPECT_THAT(
      refusal([&] { communicator_.all_gather(at::zeros({3}, at::kDouble), at::zeros({3})); }),
      AllOf(HasSubstr("one dtype"), HasSubstr("Double and Float")));
}

TEST_F(SingleRank, RefusesPartlyOverlappingTensors) {
  const at::Tensor memory = at::zeros({8});
  EXPECT_THAT(
      refusal([&] { communicator_.all_gather(memory.narrow(0, 0, 6), memory.narrow(0, 2, 6)); }),
      HasSubstr("overlap"));
}

TEST_F(SingleRank, RefusesRootsOutsideTheWorld) {
  EXPECT_THAT(refusal([&] { communicator_.broadcast(at::zeros({3}), 1); }),
              HasSubstr("a root in [0, 1), found 1"));
}

TEST_F(SingleRank, RefusesAnotherNumberOfPartials) {
  EXPECT_THAT(
      refusal([&] {
        communicator_.canonical_all_reduce({at::zeros({3}), at::zeros({3})}, ReductionTree(8));
      }),
      HasSubstr("expected 1 partial sums"));
  EXPECT_THAT(refusal([&] { communicator_.canonical_all_reduce({}, ReductionTree(8)); }),
              HasSubstr("found 0"));
}

TEST_F(SingleRank, RefusesCountsThatDoNotAddUp) {
  const at::Tensor three = at::zeros({3});
  for (const std::vector<std::int64_t>& counts : {std::vector<std::int64_t>{2}, {1, 2}, {}, {-3}}) {
    EXPECT_THAT(refusal([&] { communicator_.all_gather(three.clone(), three, counts); }),
                AllOf(HasSubstr("all_gather: expected 1 counts"), HasSubstr("3 elements")));
    EXPECT_THAT(refusal([&] { communicator_.all_to_all(three.clone(), {3}, three, counts); }),
                HasSubstr("all_to_all: expected 1 counts"));
  }
}

TEST_F(SingleRank, RefusesAnotherCountForItselfThanFromItself) {
  EXPECT_THAT(refusal([&] { communicator_.all_to_all(at::zeros({3}), {3}, at::zeros({2}), {2}); }),
              HasSubstr("all_to_all: expected input_counts[0] = output_counts[0], what this rank "
                        "gives itself, found 2 and 3"));
}

TEST_F(SingleRank, RefusesToTalkToItself) {
  EXPECT_THAT(refusal([&] { communicator_.send(at::zeros({3}), 0); }),
              AllOf(HasSubstr("send: expected another rank"), HasSubstr("this rank itself")));
  EXPECT_THAT(refusal([&] { communicator_.recv(at::zeros({3}), 5); }), HasSubstr("found 5"));
}

TEST_F(SingleRank, RefusesAnExchangeInPlace) {
  const at::Tensor tensor = at::zeros({4});
  EXPECT_THAT(refusal([&] { communicator_.all_to_all(tensor, tensor); }), HasSubstr("overlap"));
}

}  // namespace
}  // namespace muster::testing
