// Operations that move what the ranks have.
#include <ATen/ATen.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "collectives/checks/operation_checks.h"

namespace muster::testing {

void check_all_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor output = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor input = in_place ? output.narrow(0, communicator.rank() * numel, numel)
                              : allocate(communicator, memory, numel, dtype);
  input.copy_(rank_values(communicator.rank(), numel, dtype));
  communicator.all_gather(output, input).wait();
  for (int r = 0; r < world_size; ++r) {
    EXPECT_TRUE(at::equal(output.narrow(0, r * numel, numel), rank_values(r, numel, dtype)))
        << place("all_gather", communicator, memory, numel, dtype) << ", slice " << r;
  }
}

void check_all_gather_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype) {
  std::vector<std::int64_t> counts;
  std::int64_t total = 0;
  std::int64_t most = 0;
  for (int r = 0; r < communicator.world_size(); ++r) {
    counts.push_back(r == 1 ? 0 : (r + 1) * numel);
    total += counts.back();
    most = std::max(most, counts.back());
  }
  at::Tensor output = allocate(communicator, memory, total, dtype);
  const std::int64_t own = counts[static_cast<std::size_t>(communicator.rank())];
  at::Tensor input = allocate(communicator, memory, most, dtype).narrow(0, 0, own);
  input.copy_(rank_values(communicator.rank(), own, dtype));
  communicator.all_gather(output, input, counts).wait();
  std::int64_t begin = 0;
  for (int r = 0; r < communicator.world_size(); ++r) {
    const std::int64_t count = counts[static_cast<std::size_t>(r)];
    EXPECT_TRUE(at::equal(output.narrow(0, begin, count), rank_values(r, count, dtype)))
        << place("all_gather", communicator, memory, numel, dtype) << ", counts, slice " << r;
    begin += count;
  }
}

void check_broadcast(Communicator& communicator, Memory memory, std::int64_t numel,
                     at::ScalarType dtype) {
  for (int root = 0; root < communicator.world_size(); ++root) {
    at::Tensor tensor = allocate(communicator, memory, numel, dtype);
    tensor.copy_(rank_values(communicator.rank(), numel, dtype));
    communicator.broadcast(tensor, root).wait();
    EXPECT_TRUE(at::equal(tensor, rank_values(root, numel, dtype)))
        << place("broadcast", communicator, memory, numel, dtype) << ", root " << root;
  }
}

void check_scatter(Communicator& communicator, Memory memory, std::int64_t numel,
                   at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor whole = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor apart = allocate(communicator, memory, numel, dtype);
  for (int root = 0; root < world_size; ++root) {
    const bool is_root = communicator.rank() == root;
    whole.copy_(rank_values(root, numel * world_size, dtype));
    at::Tensor output = in_place ? whole.narrow(0, communicator.rank() * numel, numel) : apart;
    if (!is_root) output.zero_();
    communicator.scatter(output, is_root ? whole : at::Tensor(), root).wait();
    EXPECT_TRUE(at::equal(
        output,
        rank_values(root, numel * world_size, dtype).narrow(0, communicator.rank() * numel, numel)))
        << place("scatter", communicator, memory, numel, dtype) << ", root " << root;
  }
}

void check_gather(Communicator& communicator, Memory memory, std::int64_t numel,
                  at::ScalarType dtype, bool in_place) {
  const int world_size = communicator.world_size();
  at::Tensor whole = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor apart = allocate(communicator, memory, numel, dtype);
  for (int root = 0; root < world_size; ++root) {
    const bool is_root = communicator.rank() == root;
    whole.zero_();
    at::Tensor input = in_place ? whole.narrow(0, communicator.rank() * numel, numel) : apart;
    input.copy_(rank_values(communicator.rank(), numel, dtype));
    communicator.gather(is_root ? whole : at::Tensor(), input, root).wait();
    for (int r = 0; is_root && r < world_size; ++r) {
      EXPECT_TRUE(at::equal(whole.narrow(0, r * numel, numel), rank_values(r, numel, dtype)))
          << place("gather", communicator, memory, numel, dtype) << ", slice " << r;
    }
  }
}

void check_all_to_all(Communicator& communicator, Memory memory, std::int64_t numel,
                      at::ScalarType dtype) {
  const int world_size = communicator.world_size();
  const int rank = communicator.rank();
  at::Tensor input = allocate(communicator, memory, numel * world_size, dtype);
  at::Tensor output = allocate(communicator, memory, numel * world_size, dtype);
  for (int r = 0; r < world_size; ++r) {
    input.narrow(0, r * numel, numel).copy_(pair_values(rank, r, numel, dtype));
  }
  communicator.all_to_all(output, input).wait();
  for (int r = 0; r < world_size; ++r) {
    EXPECT_TRUE(at::equal(output.narrow(0, r * numel, numel), pair_values(r, rank, numel, dtype)))
        << place("all_to_all", communicator, memory, numel, dtype) << ", slice " << r;
  }
}

void check_all_to_all_counts(Communicator& communicator, Memory memory, std::int64_t numel,
                             at::ScalarType dtype) {
  const int world_size = communicator.world_size();
  const int rank = communicator.rank();
  const auto count = [&](int from, int to) { return (from + 2 * to) % 4 * numel; };
  std::vector<std::int64_t> input_counts, output_counts;
  std::int64_t inputs = 0, outputs = 0;
  for (int r = 0; r < world_size; ++r) {
    input_counts.push_back(count(rank, r));
    output_counts.push_back(count(r, rank));
    inputs += input_counts.back();
    outputs += output_counts.back();
  }
  const std::int64_t most = 3 * world_size * numel;
  at::Tensor input = allocate(communicator, memory, most, dtype).narrow(0, 0, inputs);
  at::Tensor output = allocate(communicator, memory, most, dtype).narrow(0, 0, outputs);
  for (std::int64_t r = 0, begin = 0; r < world_size; begin += count(rank, static_cast<int>(r++))) {
    const int to = static_cast<int>(r);
    input.narrow(0, begin, count(rank, to)).copy_(pair_values(rank, to, count(rank, to), dtype));
  }
  communicator.all_to_all(output, output_counts, input, input_counts).wait();
  for (std::int64_t r = 0, begin = 0; r < world_size; begin += count(static_cast<int>(r++), rank)) {
    const int from = static_cast<int>(r);
    EXPECT_TRUE(at::equal(output.narrow(0, begin, count(from, rank)),
                          pair_values(from, rank, count(from, rank), dtype)))
        << place("all_to_all", communicator, memory, numel, dtype) << ", counts, from " << r;
  }
}

void check_send_and_recv(Communicator& communicator, Memory memory, std::int64_t numel,
                         at::ScalarType dtype) {
  const int rank = communicator.rank();
  std::vector<at::Tensor> received;
  std::vector<Work> works;
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    for (const int number : {0, 1}) {
      at::Tensor sent = allocate(communicator, memory, numel + number, dtype);
      received.push_back(allocate(communicator, memory, numel + number, dtype));
      if (peer == rank) continue;
      sent.copy_(pair_values(rank, peer + number, numel + number, dtype));
      works.push_back(communicator.send(sent, peer));
      works.push_back(communicator.recv(received.back(), peer));
    }
  }
  for (auto work = works.rbegin(); work != works.rend(); ++work) work->wait();
  for (int peer = 0; peer < communicator.world_size(); ++peer) {
    for (const int number : {0, 1}) {
      if (peer == rank) continue;
      EXPECT_TRUE(at::equal(received[static_cast<std::size_t>(2 * peer + number)],
                            pair_values(peer, rank + number, numel + number, dtype)))
          << place("recv", communicator, memory, numel, dtype) << ", from " << peer;
    }
  }
}

}  // namespace muster::testing
