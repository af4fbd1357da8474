// A descriptor passed over an abstract socket is the same memory.
#include "node_memory_handoff.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <future>

#include "muster/base/error.h"
#include "muster/base/node_memory.h"

namespace muster::internal {
namespace {

using std::chrono::milliseconds;

TEST(NodeMemoryHandoff, GivesEveryClientTheMemory) {
  const auto memory = NodeMemory::create(3, 0);
  DescriptorServer server;
  std::vector<std::future<int>> clients;
  for (int i = 0; i < 2; ++i) {
    clients.push_back(std::async(std::launch::async, [name = server.name()] {
      return receive_descriptor(name, milliseconds(10000));
    }));
  }
  server.serve(memory->fd(), 2, milliseconds(10000));
  for (auto& client : clients) {
    const auto attached = NodeMemory::attach(client.get(), 0);
    memory->control().slots[1].sequence.store(77);
    EXPECT_EQ(attached->control().slots[1].sequence.load(), 77u);
  }
}

TEST(NodeMemoryHandoff, TimesOutWhenTooFewCome) {
  DescriptorServer server;
  EXPECT_THROW(server.serve(0, 1, milliseconds(20)), Timeout);
}

TEST(NodeMemoryHandoff, TimesOutWhenNothingIsSent) {
  DescriptorServer server;
  EXPECT_THROW(receive_descriptor(server.name(), milliseconds(20)), Timeout);
}

TEST(NodeMemoryHandoff, SaysThatTheServerIsGone) {
  std::string name;
  {
    DescriptorServer server;
    name = server.name();
  }
  EXPECT_THROW(receive_descriptor(name, milliseconds(1000)), PeerLost);
}

}  // namespace
}  // namespace muster::internal
