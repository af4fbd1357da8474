// Manifests that were made up by someone hostile, with a right checksum: every number is checked
// before it is used.
#include "muster/checkpoint/manifest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <random>

#include "json_fields.h"
#include "muster/base/crc32c.h"
#include "sample_state.h"

namespace muster::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// Two float32 tensors over two ranks: "a" [8] in halves, "b" [2, 2] on rank 1.
std::vector<ShardRecord> two_records() {
  const auto stored = [](std::string name, std::vector<std::int64_t> shape, std::int64_t begin,
                         std::int64_t end, std::int64_t offset) {
    return StoredRange{
        {std::move(name), DType::kFloat32, std::move(shape), begin, end}, offset, {7}};
  };
  ShardRecord first{.file = "rank-00000-of-00002.h5", .rank = 0, .world_size = 2, .bytes = 100};
  first.ranges = {stored("a", {8}, 0, 4, 64)};
  ShardRecord second{.file = "rank-00001-of-00002.h5", .rank = 1, .world_size = 2, .bytes = 200};
  second.ranges = {stored("a", {8}, 4, 8, 64), stored("b", {2, 2}, 0, 4, 80)};
  return {first, second};
}

std::string manifest_text() {
  return Manifest::from_records(5, 1, two_records(), {{"progress", {{"step", 5}}}}).to_text();
}

/// The checksum line that makes `before` a manifest.
std::string sealed(const std::string& before) {
  return before + ",\n \"crc32c\": \"" +
         internal::checksum_text(crc32c(before.data(), before.size())) + "\"\n}\n";
}

std::string sealed(Json json) {
  json.erase("crc32c");
  std::string text = json.dump(1);
  text.resize(text.size() - 2);
  return sealed(text);
}

std::string refusal(const std::string& text) {
  return message_of([&] { Manifest::from_text(text, "/run/step-00000005/manifest.json"); });
}

/// What reading says after `change` was made to the sound manifest's JSON.
std::string refusal_after(const std::function<void(Json&)>& change) {
  Json json = Json::parse(manifest_text());
  change(json);
  return refusal(sealed(std::move(json)));
}

TEST(ManifestTest, TextGoesBothWays) {
  const std::string text = manifest_text();
  const Manifest manifest = Manifest::from_text(text, "origin");
  EXPECT_EQ(manifest.to_text(), text);
  EXPECT_EQ(manifest.step, 5);
  EXPECT_EQ(manifest.generation, 1);
  EXPECT_EQ(manifest.tensor_bytes(), 48);
  EXPECT_EQ(refusal_after([](Json&) {}), "no error") << "the test's own seal must be right";
}

TEST(ManifestTest, RecordsGoBothWaysThroughJson) {
  for (const ShardRecord& record : two_records()) {
    EXPECT_EQ(ShardRecord::from_json(Json::parse(record.to_json().dump())), record);
  }
}

TEST(ManifestTest, RecordsWithBadNumbersAreRefused) {
  const auto refused = [](const std::function<void(Json&)>& change) {
    Json json = two_records()[1].to_json();
    change(json);
    return message_of([&] { ShardRecord::from_json(json); });
  };
  EXPECT_THAT(refused([](Json& j) { j["rank"] = 2; }), HasSubstr("'rank'"));
  EXPECT_THAT(refused([](Json& j) { j["bytes"] = -1; }), HasSubstr("'bytes'"));
  EXPECT_THAT(refused([](Json& j) { j.erase("file"); }), HasSubstr("'file'"));
  EXPECT_THAT(refused([](Json& j) { j["ranges"][0]["end"] = 9; }), HasSubstr("'end'"));
  EXPECT_THAT(refused([](Json& j) { j["ranges"][0]["crc32c"] = ""; }), HasSubstr("'crc32c'"));
  EXPECT_THAT(refused([](Json& j) { j = Json::array(); }), HasSubstr("object"));
}

TEST(ManifestTest, RecordsThatDoNotMakeAWholeAreRefused) {
  const auto refused = [](const std::function<void(std::vector<ShardRecord>&)>& change) {
    std::vector<ShardRecord> records = two_records();
    change(records);
    return message_of([&] { Manifest::from_records(5, 0, records, Json::object()); });
  };
  using Records = std::vector<ShardRecord>&;
  EXPECT_THAT(refused([](Records r) { r.clear(); }), HasSubstr("found none"));
  EXPECT_THAT(refused([](Records r) { r.pop_back(); }), HasSubstr("2 shard records"));
  EXPECT_THAT(refused([](Records r) { r[1] = r[0]; }), HasSubstr("two of rank 0"));
  EXPECT_THAT(refused([](Records r) { r[1].world_size = 3; }), HasSubstr("a world of 3"));
  EXPECT_THAT(refused([](Records r) { r[1].rank = 7; }), HasSubstr("rank 7"));
  EXPECT_THAT(refused([](Records r) { r[0].ranges.clear(); }),
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("[0, 4) in no file")));
  EXPECT_THAT(refused([](Records r) { r[1].ranges.erase(r[1].ranges.begin()); }),
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("[4, 8) in no file")));
  EXPECT_THAT(refused([](Records r) { r[1].ranges[0].range.begin = 3; }),
              AllOf(HasSubstr("tensor 'a'"), HasSubstr("[3, 4) twice")));
  EXPECT_THAT(refused([](Records r) { r[1].ranges[0].range.shape = {9}; }),
              AllOf(HasSubstr("agree"), HasSubstr("[8]"), HasSubstr("[9]"), HasSubstr("rank 1")));
  EXPECT_THAT(refused([](Records r) { r[1].ranges[0].range.dtype = DType::kInt32; }),
              AllOf(HasSubstr("float32"), HasSubstr("int32")));
  EXPECT_THAT(refused([](Records r) { r[1].ranges[1].offset_bytes = 70; }),
              AllOf(HasSubstr("'a' and 'b'"), HasSubstr("share no bytes")));
  EXPECT_THAT(refused([](Records r) { r[1].bytes = 90; }), HasSubstr("tensor 'b'"));
}

struct Hostile {
  const char* what;
  std::function<void(Json&)> change;
  const char* expected;
};

constexpr std::int64_t kHuge = 9223372036854775807;

TEST(ManifestTest, HostileNumbersAreRefusedByName) {
  const Hostile cases[] = {
      {"another format", [](Json& j) { j["format"] = "zip"; }, "'format'"},
      {"a newer version", [](Json& j) { j["version"] = 3; }, "newer Muster"},
      {"a file too many",
       [](Json& j) {
         auto& files = j["files"];
         files.push_back(files[0]);
       },
       "model.h5 after the ranks' files"},
      {"version 0", [](Json& j) { j["version"] = 0; }, "'version'"},
      {"no version", [](Json& j) { j.erase("version"); }, "'version'"},
      {"negative step", [](Json& j) { j["step"] = -1; }, "'step'"},
      {"fractional step", [](Json& j) { j["step"] = 5.5; }, "'step'"},
      {"whole float step", [](Json& j) { j["step"] = 5.0; }, "'step'"},
      {"step as text", [](Json& j) { j["step"] = "5"; }, "'step'"},
      {"step beyond int64", [](Json& j) { j["step"] = 18446744073709551615u; }, "'step'"},
      {"generation beyond int", [](Json& j) { j["generation"] = 1LL << 40; }, "'generation'"},
      {"world of none", [](Json& j) { j["world_size"] = 0; }, "'world_size'"},
      {"world of more than files", [](Json& j) { j["world_size"] = 3; }, "3 ranks"},
      {"vast world", [](Json& j) { j["world_size"] = 2147483647; }, "ranks"},
      {"no run state", [](Json& j) { j.erase("run_state"); }, "'run_state'"},
      {"files no array", [](Json& j) { j["files"] = 3; }, "'files'"},
      {"file no object", [](Json& j) { j["files"][0] = 3; }, "files[0]"},
      {"path to elsewhere", [](Json& j) { j["files"][0]["file"] = "../../etc/passwd"; }, "passwd"},
      {"two files alike", [](Json& j) { j["files"][1] = j["files"][0]; }, "rank-00001-of-00002"},
      {"negative file", [](Json& j) { j["files"][0]["bytes"] = -5; }, "'bytes'"},
      {"vast file", [](Json& j) { j["files"][0]["bytes"] = kHuge; }, "2^60"},
      {"bad structure crc", [](Json& j) { j["files"][0]["structure_crc32c"] = "xyz"; }, "crc32c"},
      {"upper-case crc", [](Json& j) { j["files"][0]["structure_crc32c"] = "0000000A"; }, "crc32c"},
      {"tensors no array", [](Json& j) { j["tensors"] = Json::object(); }, "'tensors'"},
      {"tensor twice", [](Json& j) { j["tensors"].push_back(j["tensors"][0]); }, "'a' again"},
      {"nameless", [](Json& j) { j["tensors"][0]["name"] = ""; }, "tensor name"},
      {"name with a control", [](Json& j) { j["tensors"][0]["name"] = "a\nb"; }, "tensor name"},
      {"unknown dtype", [](Json& j) { j["tensors"][0]["dtype"] = "float31"; }, "float31"},
      {"another dtype", [](Json& j) { j["tensors"][0]["dtype"] = "float64"; }, "share no bytes"},
      {"negative dimension", [](Json& j) { j["tensors"][0]["shape"] = {-8}; }, "'shape'"},
      {"overflowing shape",
       [](Json& j) {
         j["tensors"][0]["shape"] = {kHuge, kHuge};
       },
       "2^60"},
      {"shape times size", [](Json& j) { j["tensors"][0]["shape"] = {1LL << 60}; }, "2^60"},
      {"larger shape", [](Json& j) { j["tensors"][0]["shape"] = {9}; }, "[8, 9) in no file"},
      {"smaller shape", [](Json& j) { j["tensors"][0]["shape"] = {7}; }, "'end'"},
      {"no pieces", [](Json& j) { j["tensors"][0]["pieces"].clear(); }, "[0, 8) in no file"},
      {"piece missing", [](Json& j) { j["tensors"][0]["pieces"].erase(1); }, "[4, 8) in no file"},
      {"piece twice",
       [](Json& j) {
         auto& p = j["tensors"][0]["pieces"];
         p.push_back(p[0]);
       },
       "[0, 4) twice"},
      {"file index", [](Json& j) { j["tensors"][0]["pieces"][0]["file"] = 2; }, "'file'"},
      {"negative begin", [](Json& j) { j["tensors"][0]["pieces"][0]["begin"] = -1; }, "'begin'"},
      {"reversed", [](Json& j) { j["tensors"][0]["pieces"][1]["end"] = 3; }, "'end'"},
      {"end beyond", [](Json& j) { j["tensors"][0]["pieces"][1]["end"] = 9; }, "'end'"},
      {"negative offset", [](Json& j) { j["tensors"][0]["pieces"][0]["offset"] = -64; },
       "'offset'"},
      {"offset beyond", [](Json& j) { j["tensors"][0]["pieces"][0]["offset"] = 85; }, "offset 85"},
      {"vast offset", [](Json& j) { j["tensors"][0]["pieces"][0]["offset"] = kHuge; }, "offset"},
      {"bytes shared", [](Json& j) { j["tensors"][1]["pieces"][0]["offset"] = 72; }, "'a' and 'b'"},
      {"too few checksums", [](Json& j) { j["tensors"][0]["pieces"][0]["crc32c"] = ""; }, "crc32c"},
      {"too many checksums",
       [](Json& j) { j["tensors"][0]["pieces"][0]["crc32c"] = "0000000700000007"; }, "crc32c"},
      {"no hexadecimal", [](Json& j) { j["tensors"][0]["pieces"][0]["crc32c"] = "0000000g"; },
       "crc32c"},
      {"signed checksum", [](Json& j) { j["tensors"][0]["pieces"][0]["crc32c"] = "-0000007"; },
       "crc32c"},
  };
  for (const Hostile& hostile : cases) {
    EXPECT_THAT(refusal_after(hostile.change),
                AllOf(HasSubstr("/run/step-00000005/manifest.json"), HasSubstr(hostile.expected)))
        << hostile.what;
  }
}

TEST(ManifestTest, TextThatIsNoManifestIsRefused) {
  EXPECT_THAT(refusal(""), HasSubstr("truncated"));
  EXPECT_THAT(refusal("{}"), HasSubstr("truncated"));
  EXPECT_THAT(refusal(std::string(100, 'x')), HasSubstr("damaged"));
  EXPECT_THAT(refusal(sealed(std::string("{\"a\": "))), HasSubstr("JSON"));
  EXPECT_THAT(refusal(sealed(std::string("[1"))), HasSubstr("JSON"));
  EXPECT_THAT(refusal(sealed(std::string("{\"a\": \"\xff\""))), HasSubstr("JSON"));
  EXPECT_THAT(refusal(manifest_text() + "\n"), HasSubstr("damaged"));
}

TEST(ManifestTest, NestingWithoutEndIsRefused) {
  EXPECT_THAT(refusal(sealed("{\"a\": " + std::string(1000000, '['))), HasSubstr("nested"));
  // Brackets in strings are text.
  const Json brackets = {{"progress", {{"text", std::string(100, '[') + "\"\\"}}}};
  const Manifest manifest = Manifest::from_records(1, 0, two_records(), brackets);
  EXPECT_EQ(Manifest::from_text(manifest.to_text(), "origin").run_state, brackets);
}

// Changed bytes under a right seal: some give a sound manifest, all others an error, none a crash.
TEST(ManifestTest, RandomChangesNeverCrash) {
  std::mt19937_64 random(21);
  const std::string text = manifest_text();
  const std::string body = text.substr(0, text.rfind(",\n \"crc32c\""));
  const std::string alphabet = "0123456789-.eE{}[],:\"ntrufalse\\ \n";
  int refused = 0;
  for (int i = 0; i < 3000; ++i) {
    std::string changed = body;
    for (std::uint64_t changes = 1 + random() % 4; changes > 0; --changes) {
      const std::size_t at = random() % changed.size();
      if (random() % 8 == 0) {
        changed.erase(at, random() % 20);
      } else {
        changed[at] = alphabet[random() % alphabet.size()];
      }
    }
    if (refusal(sealed(changed)) != "no error") ++refused;
  }
  EXPECT_GT(refused, 1500);
}

TEST(ManifestTest, RunStateMustBeText) {
  const Json run_state = {{"progress", {{"name", "\xff"}}}};
  EXPECT_THAT(message_of([&] { Manifest::from_records(1, 0, two_records(), run_state).to_text(); }),
              HasSubstr("UTF-8"));
}

}  // namespace
}  // namespace muster::checkpoint
