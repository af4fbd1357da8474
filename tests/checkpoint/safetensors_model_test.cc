// Models in several safetensors files: what an index must agree with, and what it must not reach.
#include "muster/checkpoint/safetensors_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "memory_env.h"
#include "muster/checkpoint/import.h"
#include "muster/checkpoint/model_weights.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

constexpr const char* kIndex = "/m/model.safetensors.index.json";

class SafetensorsModelTest : public ::testing::Test {
 protected:
  SafetensorsModelTest() {
    env_.create_directories("/m");
    const std::size_t half = state_.size() / 2;
    write_part("model-00001-of-00002.safetensors", {state_.begin(), state_.begin() + half});
    write_part("model-00002-of-00002.safetensors", {state_.begin() + half, state_.end()});
    for (std::size_t t = 0; t < state_.size(); ++t) {
      map_[state_[t].whole.name] =
          t < half ? "model-00001-of-00002.safetensors" : "model-00002-of-00002.safetensors";
      bytes_ += state_[t].whole.bytes();
    }
    write_index({{"metadata", {{"total_size", bytes_}}}, {"weight_map", map_}});
  }

  void write_part(const std::string& name, const SampleState& state) {
    write_safetensors_of("/m/" + name, state, env_, {{"format", "pt"}});
  }

  void write_text(const std::string& text) { env_.write_text_atomically(kIndex, text); }
  void write_index(const Json& index) { write_text(index.dump()); }
  std::string refusal() {
    return message_of([&] { SafetensorsModel::open(kIndex, env_); });
  }
  std::string refusal_of_file(const std::string& file) {
    Json map = map_;
    map[state_[0].whole.name] = file;
    write_index({{"weight_map", map}});
    return refusal();
  }

  MemoryEnv env_;
  const SampleState state_ = sample_state(4, true);
  Json map_ = Json::object();
  std::int64_t bytes_ = 0;
};

TEST_F(SafetensorsModelTest, AllFilesAreOneModel) {
  const SafetensorsModel model = SafetensorsModel::open(kIndex, env_);
  EXPECT_EQ(model.tensors().size(), state_.size());
  EXPECT_EQ(model.metadata().at("format"), "pt");
  const ModelWeights weights = ModelWeights::open(kIndex, env_);
  for (const SampleTensor& tensor : state_) {
    std::vector<std::byte> data(tensor.data.size());
    model.read(tensor.whole, data.data());
    EXPECT_EQ(data, tensor.data) << tensor.whole.name;
    weights.read(tensor.whole, data.data());
    EXPECT_EQ(data, tensor.data) << tensor.whole.name;
  }
}

TEST_F(SafetensorsModelTest, TheyAreImportedAsOneCheckpoint) {
  CheckpointStore store("/imported", env_);
  const auto path = import_safetensors(SafetensorsModel::open(kIndex, env_), store, {.prefix = ""});
  const Checkpoint imported = Checkpoint::open(path, env_);
  EXPECT_EQ(first_difference(imported, state_), "");
  EXPECT_EQ(imported.manifest().run_state.at("imported").at("file"),
            "model.safetensors.index.json");
}

TEST_F(SafetensorsModelTest, TotalSizeMayBeMissingButNotWrong) {
  write_index({{"weight_map", map_}});
  EXPECT_EQ(refusal(), "no error");
  for (const Json& wrong : {Json(bytes_ + 1), Json(-1), Json("all"), Json(0.5), Json(nullptr)}) {
    write_index({{"metadata", {{"total_size", wrong}}}, {"weight_map", map_}});
    EXPECT_THAT(refusal(), AllOf(HasSubstr("total_size"), HasSubstr(std::to_string(bytes_)),
                                 HasSubstr(wrong.dump())));
  }
  write_index({{"metadata", 1}, {"weight_map", map_}});
  EXPECT_THAT(refusal(), HasSubstr("metadata"));
}

TEST_F(SafetensorsModelTest, NamesThatLeadElsewhereAreRefused) {
  for (const char* name :
       {"../model-00001-of-00002.safetensors", "/etc/x.safetensors", "a/b.safetensors", "..", ".",
        "", ".safetensors", "a\\b.safetensors", "manifest.json"}) {
    EXPECT_THAT(refusal_of_file(name),
                AllOf(HasSubstr("plain name"), HasSubstr(Json(name).dump())));
  }
  EXPECT_THAT(refusal_of_file(std::string("a\0.safetensors", 14)), HasSubstr("plain name"));
}

TEST_F(SafetensorsModelTest, AMissingPartIsNamed) {
  EXPECT_THAT(refusal_of_file("model-00000-of-00002.safetensors"),
              HasSubstr("model-00000-of-00002.safetensors"));
  write_index({{"weight_map", map_}});
  env_.remove_all("/m/model-00002-of-00002.safetensors");
  EXPECT_THAT(refusal(), HasSubstr("model-00002-of-00002.safetensors"));
}

TEST_F(SafetensorsModelTest, TensorsAreWhereTheIndexSays) {
  const std::string first = state_.front().whole.name;
  EXPECT_THAT(refusal_of_file("model-00002-of-00002.safetensors"),
              AllOf(HasSubstr(first), HasSubstr("expected it in model-00002"),
                    HasSubstr("found it in model-00001")));
  Json map = map_;
  map["ghost"] = "model-00001-of-00002.safetensors";
  write_index({{"weight_map", map}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("\"ghost\""), HasSubstr("in no file")));
  map.erase("ghost");
  map.erase(first);
  write_index({{"weight_map", map}});
  EXPECT_THAT(refusal(), AllOf(HasSubstr("only tensors of the weight_map"), HasSubstr(first)));
}

TEST_F(SafetensorsModelTest, ATensorInTwoPartsIsRefused) {
  write_part("model-00002-of-00002.safetensors", state_);
  EXPECT_THAT(refusal(), AllOf(HasSubstr("expected it in one file"), HasSubstr("model-00001"),
                               HasSubstr("model-00002")));
}

TEST_F(SafetensorsModelTest, WhatIsNoIndexIsRefused) {
  for (const char* text : {"", "[]", "{}", "{\"weight_map\": {}}", "{\"weight_map\": []}",
                           "{\"weight_map\": {\"a\": 1}}", "{\"weight_map\"", "\xff"}) {
    write_text(text);
    EXPECT_THAT(refusal(), HasSubstr(kIndex)) << text;
  }
  write_text("{\"weight_map\": {\"a\": \"x.safetensors\", \"a\": \"y.safetensors\"}}");
  EXPECT_THAT(refusal(), AllOf(HasSubstr("\"a\""), HasSubstr("twice")));
  write_text(std::string(100'000, '[') + std::string(100'000, ']'));
  EXPECT_THAT(refusal(), HasSubstr(kIndex));
}

}  // namespace
}  // namespace muster::checkpoint
