// What a training ends with, to be compared bit by bit.
#ifndef MUSTER_TESTS_TRAINER_OUTCOME_H_
#define MUSTER_TESTS_TRAINER_OUTCOME_H_

#include <gtest/gtest.h>

#include <cmath>
#include <cstddef>
#include <cstring>
#include <stdexcept>
#include <string>
#include <vector>

#include "muster/base/hash.h"
#include "muster/trainer/engine.h"

namespace muster {

struct Outcome {
  std::vector<StateTensor> state;
  std::vector<double> losses = {}, norms = {};
  int skipped = 0;
};

inline std::vector<StateTensor> copy_of(std::vector<StateTensor> state) {
  for (StateTensor& tensor : state) tensor.flat = tensor.flat.clone();
  return state;
}

inline Outcome state_of(Engine& engine) { return {.state = copy_of(engine.whole_state())}; }

inline const at::Tensor& tensor(const Outcome& outcome, const std::string& name) {
  for (const StateTensor& tensor : outcome.state) {
    if (tensor.name == name) return tensor.flat;
  }
  throw std::out_of_range(name);
}

inline void expect_equal_bits(const Outcome& expected, const Outcome& found) {
  EXPECT_EQ(expected.losses, found.losses);
  // Two norms that are not finite need not be equal numbers.
  for (std::size_t i = 0; i < expected.norms.size(); ++i) {
    if (!std::isfinite(expected.norms[i])) continue;
    EXPECT_EQ(expected.norms[i], found.norms[i]) << i;
  }
  EXPECT_EQ(expected.skipped, found.skipped);
  ASSERT_EQ(expected.state.size(), found.state.size());
  for (std::size_t i = 0; i < expected.state.size(); ++i) {
    const at::Tensor& a = expected.state[i].flat;
    const at::Tensor& b = found.state[i].flat;
    EXPECT_EQ(expected.state[i].name, found.state[i].name);
    ASSERT_EQ(a.nbytes(), b.nbytes());
    EXPECT_EQ(std::memcmp(a.const_data_ptr(), b.const_data_ptr(), a.nbytes()), 0)
        << expected.state[i].name;
  }
}

inline std::string hash_of(const Outcome& outcome) {
  Hash128 hash;
  hash.update(outcome.losses.data(), outcome.losses.size() * sizeof(double));
  for (const double norm : outcome.norms) {
    if (std::isfinite(norm)) hash.update(&norm, sizeof(norm));
  }
  hash.update(&outcome.skipped, sizeof(outcome.skipped));
  for (const StateTensor& tensor : outcome.state) {
    hash.update(tensor.name);
    hash.update(tensor.flat.const_data_ptr(), tensor.flat.nbytes());
  }
  return hash.hex();
}

}  // namespace muster

#endif  // MUSTER_TESTS_TRAINER_OUTCOME_H_
