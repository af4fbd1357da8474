// Metrics against values worked out by hand and by the quadratic definition; refusals.
#include "muster/trainer/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <torch/torch.h>

#include <cmath>
#include <random>

#include "metric_exchange.h"
#include "muster/base/error.h"

namespace muster {
namespace {

using testing::HasSubstr;

torch::Tensor labels_of(std::vector<std::int64_t> labels) { return torch::tensor(labels); }

// Predicted: 0, 1, 1, 2, and 0 for the tie.
torch::Tensor scores() {
  return torch::tensor(
      {{0.9, 0.1, 0.0}, {0.2, 0.5, 0.3}, {0.1, 0.6, 0.3}, {0.0, 0.1, 0.9}, {0.4, 0.4, 0.2}});
}

TEST(Metrics, AccuracyAndTopKCountSamples) {
  MetricSums sums;
  const torch::Tensor labels = labels_of({0, 2, 1, 2, 1});
  sums.add_accuracy("accuracy", scores(), labels);
  sums.add_top_k("top_1", scores(), labels, 1);
  sums.add_top_k("top_2", scores(), labels, 2);
  EXPECT_EQ(sums["accuracy"].sum, 3);
  EXPECT_EQ(sums["accuracy"].count, 5);
  EXPECT_EQ(sums["top_1"].sum, 4);  // no class scores higher than the tied label
  EXPECT_EQ(sums["top_2"].sum, 5);
  // A ragged end is added sample by sample.
  sums.add_accuracy("accuracy", scores().narrow(0, 0, 1), labels_of({1}));
  sums.add_accuracy("accuracy", scores().narrow(0, 0, 0), labels_of({}).to(torch::kLong));
  EXPECT_EQ(sums["accuracy"].value(), 0.5);
}

TEST(Metrics, AScoreOfNanIsWrong) {
  MetricSums sums;
  sums.add_top_k("top_2", torch::tensor({{std::nanf(""), 1.0f}}), labels_of({0}), 2);
  EXPECT_EQ(sums["top_2"].sum, 0);
}

TEST(Metrics, PerplexityIsThatOfAllTokens) {
  MetricSums sums;
  sums.add_perplexity("perplexity", std::log(2.0), 30);
  sums.add_perplexity("perplexity", std::log(8.0), 10);
  EXPECT_NEAR(sums["perplexity"].value(), std::pow(2.0, 1.5), 1e-14);  // (30 + 3 * 10) / 40
}

// By hand: rows are labels 0, 1, 2; columns predictions.
TEST(Metrics, ConfusionsGivePrecisionRecallAndF1) {
  MetricSums sums;
  sums.add_confusion("confusion", scores(), labels_of({0, 2, 1, 2, 1}));
  const ConfusionMatrix& matrix = sums.confusions()[0].second;
  EXPECT_EQ(matrix.counts(), (std::vector<double>{1, 0, 0, 1, 1, 0, 0, 1, 1}));
  EXPECT_EQ(matrix.accuracy(), 3.0 / 5);
  EXPECT_EQ(matrix.precision(0), 1.0 / 2);
  EXPECT_EQ(matrix.precision(1), 1.0 / 2);
  EXPECT_EQ(matrix.precision(2), 1.0);
  EXPECT_EQ(matrix.recall(0), 1.0);
  EXPECT_EQ(matrix.recall(1), 1.0 / 2);
  EXPECT_EQ(matrix.recall(2), 1.0 / 2);
  EXPECT_EQ(matrix.f1(0), 2.0 / 3);
  EXPECT_EQ(matrix.f1(1), 1.0 / 2);
  EXPECT_EQ(matrix.f1(2), 2.0 / 3);
  EXPECT_DOUBLE_EQ(matrix.macro_f1(), (2.0 / 3 + 1.0 / 2 + 2.0 / 3) / 3);
  const ConfusionMatrix none(2);
  EXPECT_EQ(none.accuracy() + none.precision(0) + none.recall(1) + none.f1(0), 0);
}

TEST(Metrics, AurocIsTheShareOfWonPairs) {
  MetricSums sums;
  // Negatives 0.1, 0.4; positives 0.35, 0.8: three of four pairs are won (scikit-learn's example).
  sums.add_auroc("auroc", torch::tensor({0.1, 0.4, 0.35, 0.8}), labels_of({0, 0, 1, 1}));
  EXPECT_EQ(sums.rankings()[0].second.auroc(), 0.75);
  ScoreRanking ties;
  for (const bool positive : {true, false, true}) ties.add(0.5f, positive);
  EXPECT_EQ(ties.auroc(), 0.5);
  ScoreRanking one_sided;
  one_sided.add(0.5f, true);
  EXPECT_TRUE(std::isnan(one_sided.auroc()));
}

TEST(Metrics, AurocIsExactWhateverTheOrderAndTheCut) {
  std::mt19937 random(5);
  std::vector<std::pair<float, bool>> samples;
  for (int i = 0; i < 500; ++i)
    samples.emplace_back(static_cast<float>(random() % 40), random() % 3 == 0);
  std::int64_t twice_won = 0, pairs = 0;
  for (const auto& [a, positive] : samples) {
    for (const auto& [b, other] : samples) {
      if (!positive || other) continue;
      twice_won += a > b ? 2 : a == b ? 1 : 0;
      ++pairs;
    }
  }
  const double expected = static_cast<double>(twice_won) / (2.0 * static_cast<double>(pairs));
  for (const std::size_t cut : {0u, 1u, 250u, 499u}) {
    std::shuffle(samples.begin(), samples.end(), random);
    ScoreRanking parts[2];
    for (std::size_t i = 0; i < samples.size(); ++i)
      parts[i < cut ? 0 : 1].add(samples[i].first, samples[i].second);
    ScoreRanking all;
    for (const ScoreRanking& part : parts) all.merge(part.entries());
    EXPECT_EQ(all.auroc(), expected);
    EXPECT_LE(all.entries().size(), 40u);
  }
}

TEST(Metrics, WhatCannotBeCountedIsRefused) {
  MetricSums sums;
  const auto message = [](const std::function<void()>& f) -> std::string {
    try {
      f();
    } catch (const UserError& e) {
      return e.what();
    }
    return "nothing was thrown";
  };
  EXPECT_THAT(message([&] {
                sums.add_accuracy("a", scores(), labels_of({0, 1}));
              }),
              HasSubstr("metric 'a': expected labels [5]"));
  EXPECT_THAT(message([&] {
                sums.add_confusion("a", scores(), labels_of({0, 1, 2, 3, 0}));
              }),
              HasSubstr("labels from 0 to 2, found 3"));
  EXPECT_THAT(message([&] { sums.add_top_k("a", scores()[0], labels_of({0}), 1); }),
              HasSubstr("expected scores [samples, classes]"));
  EXPECT_THAT(message([&] { sums.add_auroc("a", torch::tensor({std::nanf("")}), labels_of({1})); }),
              HasSubstr("found NaN"));
  sums.add("loss", 1, 1);
  EXPECT_THAT(message([&] { sums.add_perplexity("loss", 1, 1); }), HasSubstr("metric 'loss'"));
  EXPECT_THROW(sums["none"], ConfigError);
}

TEST(Metrics, AreWrittenAsNumbersAndMatrices) {
  MetricSums sums;
  sums.add("loss", 3, 4);
  sums.add_auroc("auroc", torch::tensor({0.1, 0.9}), labels_of({0, 1}));
  sums.add_confusion("confusion", torch::tensor({{0.9, 0.1}, {0.8, 0.2}}), labels_of({0, 1}));
  const Json json = internal::metrics_to_json(sums);
  EXPECT_EQ(json["loss"], 0.75);
  EXPECT_EQ(json["auroc"], 1.0);
  EXPECT_EQ(json["confusion"]["counts"].dump(), "[[1,0],[1,0]]");
  EXPECT_EQ(json["confusion"]["recall"].dump(), "[1.0,0.0]");
  std::string names;
  for (const auto& [name, value] : sums.values()) names += name + " ";
  EXPECT_EQ(names, "loss auroc confusion.accuracy confusion.macro_f1 ");
}

}  // namespace
}  // namespace muster
