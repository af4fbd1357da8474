// Batches, tensors in memory and token windows: rows, types, conversion, refusals.
#include "muster/data_loader/tensor_dataset.h"

#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/equal.h>
#include <ATen/ops/index_select.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "muster/base/error.h"
#include "muster/data_loader/token_windows.h"

namespace muster {
namespace {

using Ids = std::vector<std::int64_t>;

TEST(BatchTest, UnknownNamesAreAnsweredWithTheKnownOnes) {
  const Batch batch{{{"image", at::zeros({2})}, {"label", at::zeros({2})}}, {4, 5}};
  EXPECT_EQ(batch.size(), 2);
  EXPECT_EQ(batch["label"].data_ptr(), batch.tensors[1].second.data_ptr());
  try {
    batch["lable"];
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    EXPECT_NE(std::string(error.what()).find("\"lable\" in the batch; found: \"image\", \"label\""),
              std::string::npos)
        << error.what();
  }
  EXPECT_THROW(Batch{}["image"], ConfigError);
}

TEST(TensorDatasetTest, RowsOfEveryTypeAreThoseOfIndexSelect) {
  const Ids ids = {3, 0, 3, 6};
  const at::Tensor index = at::tensor(ids);
  for (const auto dtype : {at::kByte, at::kShort, at::kLong, at::kHalf, at::kFloat, at::kDouble}) {
    const at::Tensor values = at::arange(7 * 6).to(dtype).view({7, 2, 3});
    const Batch batch = TensorDataset({{"x", values}}).get(ids);
    EXPECT_TRUE(at::equal(batch["x"], values.index_select(0, index)));
    EXPECT_EQ(batch.sample_ids, ids);
  }
}

TEST(TensorDatasetTest, AStridedTensorGivesItsOwnRows) {
  const at::Tensor values = at::arange(12).view({3, 4}).t();  // [4, 3], not contiguous
  const Batch batch = TensorDataset({{"x", values}}).get(Ids{1});
  EXPECT_TRUE(at::equal(batch["x"], at::tensor({1, 5, 9}, at::kLong).view({1, 3})));
}

TEST(TensorDatasetTest, ContiguousValuesAreNotCopied) {
  at::Tensor values = at::zeros({4}, at::kLong);
  const TensorDataset dataset({{"x", values}});
  values.mutable_data_ptr<std::int64_t>()[2] = 7;
  EXPECT_EQ(dataset.get(Ids{2})["x"].const_data_ptr<std::int64_t>()[0], 7);
}

TEST(TensorDatasetTest, Uint8BecomesFloatByTheDocumentedFormula) {
  const at::Tensor values = at::arange(256).to(at::kByte).view({256, 1, 1});
  const TensorDataset dataset({{"x", values, FloatConversion{{0.2860}, {0.3530}}}});
  Ids ids;
  for (std::int64_t i = 0; i < 256; ++i) ids.push_back(i);
  const at::Tensor out = dataset.get(ids)["x"];
  ASSERT_EQ(out.scalar_type(), at::kFloat);
  ASSERT_EQ(out.sizes(), values.sizes());
  for (int i = 0; i < 256; ++i) {
    const float exact = (static_cast<float>(i) - static_cast<float>(255 * 0.2860)) *
                        static_cast<float>(1 / (255 * 0.3530));
    EXPECT_EQ(out.const_data_ptr<float>()[i], exact) << i;
    EXPECT_NEAR(exact, (i / 255.0 - 0.2860) / 0.3530, 1e-6) << "the formula itself";
  }
}

TEST(TensorDatasetTest, ConversionWithoutNormalisationSpansZeroToOne) {
  const at::Tensor values = at::tensor({0, 255}, at::kByte);
  const at::Tensor out = TensorDataset({{"x", values, FloatConversion{}}}).get(Ids{1, 0})["x"];
  EXPECT_TRUE(at::equal(out, at::tensor({1.0f, 0.0f})));
}

TEST(TensorDatasetTest, ChannelsHaveTheirOwnConstants) {
  const at::Tensor values = at::zeros({2, 3, 4, 5}, at::kByte);
  const FloatConversion conversion{{1.0, 2.0, 3.0}, {1.0, 1.0, 1.0}};
  const at::Tensor out = TensorDataset({{"x", values, conversion}}).get(Ids{1, 0})["x"];
  ASSERT_EQ(out.sizes(), (Ids{2, 3, 4, 5}));
  for (std::int64_t i = 0; i < out.numel(); ++i) {
    EXPECT_FLOAT_EQ(out.const_data_ptr<float>()[i], -static_cast<float>(i / 20 % 3 + 1)) << i;
  }
}

TEST(TensorDatasetTest, NoIdsGiveNoRows) {
  const at::Tensor images = at::zeros({2, 3}, at::kByte);
  const TensorDataset dataset({{"x", images, FloatConversion{}}, {"y", at::zeros({2, 0})}});
  EXPECT_EQ(dataset.get({})["x"].sizes(), (Ids{0, 3}));
  EXPECT_EQ(dataset.get(Ids{1, 1, 0})["y"].sizes(), (Ids{3, 0}));
}

TEST(TensorDatasetTest, WhatDoesNotFitIsRefused) {
  const at::Tensor two = at::zeros({2, 3}, at::kByte);
  using Columns = std::vector<TensorDataset::Column>;
  const auto refused = [](Columns columns) {
    EXPECT_THROW(TensorDataset(std::move(columns)), ConfigError);
  };
  refused({});
  refused({{"x", at::Tensor()}});
  refused({{"x", at::zeros({})}});
  refused({{"", two}});
  refused({{"x", two}, {"x", two}});
  refused({{"x", two}, {"y", at::zeros({3})}});
  refused({{"x", at::zeros({2, 3}), FloatConversion{}}});
  refused({{"x", two, FloatConversion{{0, 0}, {1, 1}}}});
  refused({{"x", two, FloatConversion{{0, 0, 0}, {1}}}});
  refused({{"x", two, FloatConversion{{}, {}}}});
  refused({{"x", two, FloatConversion{{0}, {0}}}});
  refused({{"x", two, FloatConversion{{std::numeric_limits<double>::quiet_NaN()}, {1}}}});
  const TensorDataset dataset({{"x", two}});
  EXPECT_THROW(dataset.get(Ids{2}), InternalError);
  EXPECT_THROW(dataset.get(Ids{-1}), InternalError);
}

TEST(TokenWindowsTest, WindowsCoverTheTokensAndTargetsAreOneAhead) {
  for (const auto dtype : {at::kByte, at::kLong}) {
    for (std::int64_t tokens = 2; tokens <= 20; ++tokens) {
      for (std::int64_t length = 1; length < tokens; ++length) {
        const TokenWindows windows(at::arange(tokens).to(dtype), length);
        ASSERT_EQ(windows.size(), (tokens - 1) / length);
        Ids ids;
        for (std::int64_t i = windows.size() - 1; i >= 0; --i) ids.push_back(i);
        const Batch batch = windows.get(ids);
        ASSERT_EQ(batch.sample_ids, ids);
        ASSERT_EQ(batch["input"].sizes(), (Ids{windows.size(), length}));
        ASSERT_EQ(batch["target"].scalar_type(), at::kLong);
        for (std::int64_t i = 0; i < windows.size() * length; ++i) {
          const std::int64_t token =
              ids[static_cast<std::size_t>(i / length)] * length + i % length;
          ASSERT_EQ(batch["input"].const_data_ptr<std::int64_t>()[i], token);
          ASSERT_EQ(batch["target"].const_data_ptr<std::int64_t>()[i], token + 1);
        }
      }
    }
  }
}

TEST(TokenWindowsTest, WhatDoesNotFitIsRefused) {
  const at::Tensor tokens = at::arange(5);
  EXPECT_THROW(TokenWindows(tokens, 5), ConfigError);
  EXPECT_THROW(TokenWindows(tokens, 0), ConfigError);
  EXPECT_THROW(TokenWindows(tokens, std::numeric_limits<std::int64_t>::max()), ConfigError);
  EXPECT_THROW(TokenWindows(at::empty({0}, at::kLong), 1), ConfigError);
  EXPECT_THROW(TokenWindows(tokens.view({5, 1}), 1), ConfigError);
  EXPECT_THROW(TokenWindows(tokens.to(at::kFloat), 1), ConfigError);
  EXPECT_THROW(TokenWindows(at::Tensor(), 1), ConfigError);
  EXPECT_THROW(TokenWindows(tokens, 2).get(Ids{2}), InternalError);
}

}  // namespace
}  // namespace muster
