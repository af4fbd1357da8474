// Where a rank trains.
#include "accelerator.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "muster/base/error.h"

namespace muster::internal {
namespace {

using ::testing::HasSubstr;
using ::testing::ThrowsMessage;

/// So many GPUs, which are only counted.
class Counted : public Accelerator {
 public:
  explicit Counted(int devices) : devices_(devices) {}
  int devices() const override { return devices_; }
  void prepare(at::Device) override { FAIL(); }
  std::string name(at::Device) const override { return ""; }
  std::unique_ptr<Communicator> make_communicator(Communicator&, at::Device,
                                                  const EngineOptions&) override {
    return nullptr;
  }
  const PieceDevice& pieces(at::Device) override { return host_pieces(); }

 private:
  int devices_;
};

TEST(ChooseDevice, TakesTheGpusOfANodeInTurns) {
  const Counted two(2);
  for (const char* wanted : {"auto", "cuda"}) {
    for (int local_rank = 0; local_rank < 5; ++local_rank) {
      const at::Device expected(at::kCUDA, static_cast<at::DeviceIndex>(local_rank % 2));
      EXPECT_EQ(choose_device(wanted, local_rank, &two), expected);
    }
  }
  EXPECT_EQ(choose_device("cpu", 1, &two), at::Device(at::kCPU));
}

TEST(ChooseDevice, WithoutAGpuAutoTakesTheCpuAndCudaIsRefused) {
  const Counted none(0);
  EXPECT_EQ(choose_device("auto", 0, &none), at::Device(at::kCPU));
  EXPECT_EQ(choose_device("auto", 0, nullptr), at::Device(at::kCPU));
  EXPECT_THAT([&] { choose_device("cuda", 0, &none); },
              ThrowsMessage<ConfigError>(HasSubstr("expected a GPU for cuda, found none")));
  EXPECT_THAT([&] { choose_device("cuda", 0, nullptr); },
              ThrowsMessage<ConfigError>(HasSubstr("link it with muster::cuda")));
}

}  // namespace
}  // namespace muster::internal
