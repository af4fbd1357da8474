// Safetensors files: the reference's bytes both ways, what must be refused, and what a crash
// leaves.
#include "muster/checkpoint/safetensors.h"

#include <gmock/gmock.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "checkpoint/memory_env.h"
#include "checkpoint/sample_state.h"
#include "muster/base/json.h"

namespace muster::checkpoint {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;

/// What golden/make_safetensors.py wrote with the reference implementation.
SampleState reference_state() {
  std::map<std::string, TensorRange> tensors;
  for (TensorRange tensor :
       {whole_tensor("bool", DType::kBool, {13}), whole_tensor("bytes", DType::kUInt8, {3, 5}),
        whole_tensor("half", DType::kFloat16, {5, 5}),
        whole_tensor("brain", DType::kBFloat16, {3, 11}),
        whole_tensor("layer.0.weight", DType::kFloat32, {4, 3, 2}),
        whole_tensor("layer.0.bias", DType::kFloat32, {4}),
        whole_tensor("layer.0.steps", DType::kInt64, {}),
        whole_tensor("double", DType::kFloat64, {2, 2}), whole_tensor("int8", DType::kInt8, {3}),
        whole_tensor("int16", DType::kInt16, {3, 1}), whole_tensor("int32", DType::kInt32, {1, 2}),
        whole_tensor("nothing", DType::kFloat32, {0, 4}),
        whole_tensor("quote \" slash \\ / \xc3\xa9", DType::kFloat32, {1})}) {
    tensors.emplace(tensor.name, tensor);
  }
  SampleState state;
  for (auto& [name, whole] : tensors) {
    const std::size_t t = state.size();
    std::vector<std::byte> data(static_cast<std::size_t>(whole.bytes()));
    const std::size_t mask = whole.dtype == DType::kBool ? 1 : 255;
    for (std::size_t k = 0; k < data.size(); ++k) data[k] = std::byte((31 * t + 7 * k) & mask);
    state.push_back({whole, std::move(data)});
  }
  return state;
}

void expect_equal(const SafetensorsFile& file, const SampleState& state) {
  EXPECT_EQ(file.tensors().size(), state.size());
  for (const SampleTensor& tensor : state) {
    std::vector<std::byte> found(tensor.data.size());
    file.read(tensor.whole, found.data());
    EXPECT_EQ(found, tensor.data) << tensor.whole.name;
  }
}

std::filesystem::path golden_file() {
  return std::filesystem::path(MUSTER_TEST_DIR) / "golden" / "reference.safetensors";
}

TEST(SafetensorsTest, ReadsWhatTheReferenceWrote) {
  const auto env = make_system_env();
  const SafetensorsFile file = SafetensorsFile::open(golden_file(), *env);
  expect_equal(file, reference_state());
  EXPECT_EQ(file.metadata(), (std::map<std::string, std::string>{{"format", "pt \xc3\xa9"}}));
}

TEST(SafetensorsTest, WritesTheReferencesBytes) {
  const auto env = make_system_env();
  MemoryEnv memory;
  SampleState state = reference_state();
  std::swap(state.front(), state.back());  // the order given does not matter
  write_safetensors_of("/model.safetensors", state, memory, {{"format", "pt \xc3\xa9"}});
  EXPECT_EQ(memory.content("/model.safetensors"), env->read_text(golden_file()));
}

TEST(SafetensorsTest, TensorsLargerThanTheBufferAndPartsOfThemComeBack) {
  MemoryEnv env;
  SampleState state = sample_state(3, /*large=*/true);
  state.push_back({whole_tensor("wide", DType::kInt16, {3, 1'500'001}), {}});
  state.back().data.resize(static_cast<std::size_t>(state.back().whole.bytes()), std::byte{7});
  for (std::size_t k = 0; k < state.back().data.size(); k += 1000) {
    state.back().data[k] = static_cast<std::byte>(k / 1000);
  }
  write_safetensors_of("/large.safetensors", state, env);
  const SafetensorsFile file = SafetensorsFile::open("/large.safetensors", env);
  expect_equal(file, state);
  TensorRange part = file.whole("wide");
  part.begin = 1'000'000;
  part.end = 1'000'777;
  std::vector<std::byte> found(static_cast<std::size_t>(part.bytes()));
  file.read(part, found.data());
  EXPECT_EQ(std::memcmp(found.data(), state.back().data.data() + 2'000'000, found.size()), 0);
}

TEST(SafetensorsTest, AFileWithoutTensorsIsOne) {
  MemoryEnv env;
  write_safetensors_of("/none.safetensors", {}, env);
  EXPECT_EQ(env.content("/none.safetensors"), std::string("\x08\0\0\0\0\0\0\0{}      ", 16));
  EXPECT_TRUE(SafetensorsFile::open("/none.safetensors", env).tensors().empty());
}

// --- What is refused.

std::string with_length(std::uint64_t length, const std::string& rest) {
  std::string text(sizeof(length), '\0');
  std::memcpy(text.data(), &length, sizeof(length));
  return text + rest;
}

std::string file_of(const std::string& header, std::size_t data_bytes) {
  return with_length(header.size(), header) + std::string(data_bytes, '\0');
}

std::string refusal_of(const std::string& content) {
  MemoryEnv env;
  env.create_file("/x.safetensors")->write_at(0, content.data(), content.size());
  return message_of([&] { SafetensorsFile::open("/x.safetensors", env); });
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + R"(":{"dtype":")" + dtype + R"(","shape":)" + shape + R"(,"data_offsets":)" +
         offsets + "}";
}

struct Refused {
  const char* name;
  std::string content;
  const char* message;
};

std::vector<Refused> refused_files() {
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  const std::string b = tensor("b", "F32", "[1]", "[8,12]");
  const std::string meta = R"("__metadata__":)";
  return {
      {"empty file", "", "at least the 8 bytes of the header's length, found 0"},
      {"no whole length", "\x02\0\0", "found 1 bytes"},
      {"length beyond the file", with_length(50, "{}"), "the 50 bytes of the header, found 2"},
      {"length over 100 MB", with_length(100'000'001, "{}"), "at most 100000000 bytes"},
      {"length of 2^64 - 1", with_length(~std::uint64_t{0}, "{}"), "at most 100000000 bytes"},
      {"no header", with_length(0, ""), "expected JSON"},
      {"not JSON", file_of("{\"a\":", 0), "expected JSON"},
      {"two values", file_of("{}{}", 0), "expected JSON"},
      {"not UTF-8", file_of("{\"\xff\":1}", 0), "expected JSON"},
      {"an array", file_of("[]", 0), "expected an object, found an array"},
      {"a number", file_of("7", 0), "expected an object, found 7"},
      {"tensor is no object", file_of(R"({"a":7})", 0), "header, \"a\": expected an object"},
      {"tensor is null", file_of(R"({"a":null})", 0), "expected an object, found null"},
      {"trailing bytes", file_of("{" + a + "}", 9), "8 bytes of tensors"},
      {"truncated", file_of("{" + a + "}", 7), "at least 8 bytes of tensors"},
      {"hole at the start", file_of("{" + tensor("a", "F32", "[2]", "[4,12]") + "}", 12),
       "(a hole)"},
      {"hole", file_of("{" + a + "," + tensor("b", "F32", "[1]", "[12,16]") + "}", 16), "(a hole)"},
      {"overlap", file_of("{" + a + "," + tensor("b", "F32", "[1]", "[4,8]") + "}", 8),
       "(an overlap)"},
      {"same place", file_of("{" + a + "," + tensor("b", "F32", "[2]", "[0,8]") + "}", 8),
       "(an overlap)"},
      {"shape and offsets differ", file_of("{" + tensor("a", "F32", "[3]", "[0,8]") + "}", 8),
       "the 12 bytes of its dtype and shape apart, found 0 and 8"},
      {"reversed offsets", file_of("{" + tensor("a", "F32", "[2]", "[8,0]") + "}", 8),
       "found 8 and 0"},
      {"negative offset", file_of("{" + tensor("a", "F32", "[2]", "[-8,0]") + "}", 8),
       "expected a number of 0 or more, found -8"},
      {"negative dimension", file_of("{" + tensor("a", "F32", "[-2]", "[0,8]") + "}", 8),
       "expected a number of 0 or more, found -2"},
      {"fraction", file_of("{" + tensor("a", "F32", "[2.0]", "[0,8]") + "}", 8),
       "expected a number of 0 or more, found 2.0"},
      {"offset of 2^63",
       file_of("{" + tensor("a", "F32", "[2]", "[0,9223372036854775808]") + "}", 8),
       "numbers below 2^63"},
      {"offset of 2^64",
       file_of("{" + tensor("a", "F32", "[2]", "[0,18446744073709551616]") + "}", 8),
       "found 18446744073709551616"},
      {"overflow", file_of("{" + tensor("a", "F32", "[4611686018427387904,4]", "[0,8]") + "}", 8),
       "2^60 bytes"},
      {"one offset", file_of("{" + tensor("a", "F32", "[2]", "[0]") + "}", 8), "two data_offsets"},
      {"three offsets", file_of("{" + tensor("a", "F32", "[2]", "[0,8,8]") + "}", 8),
       "two data_offsets"},
      {"nested shape", file_of("{" + tensor("a", "F32", "[[2]]", "[0,8]") + "}", 8), "an array"},
      {"unknown dtype", file_of("{" + tensor("a", "F31", "[2]", "[0,8]") + "}", 8),
       "found \"F31\"; convert"},
      {"dtype of others", file_of("{" + tensor("a", "U32", "[2]", "[0,8]") + "}", 8),
       "found \"U32\"; convert"},
      {"dtype is no text", file_of(R"({"a":{"dtype":7,"shape":[2],"data_offsets":[0,8]}})", 8),
       "expected text, found 7"},
      {"no dtype", file_of(R"({"a":{"shape":[2],"data_offsets":[0,8]}})", 8), "field 'dtype'"},
      {"no shape", file_of(R"({"a":{"dtype":"F32","data_offsets":[0,8]}})", 8), "field 'shape'"},
      {"no offsets", file_of(R"({"a":{"dtype":"F32","shape":[2]}})", 8), "field 'data_offsets'"},
      {"shape is no array", file_of(R"({"a":{"dtype":"F32","shape":2,"data_offsets":[0,8]}})", 8),
       "expected an array of numbers, found 2"},
      {"metadata is a number", file_of("{" + meta + R"({"x":1}})", 0), "expected text, found 1"},
      {"metadata is an object", file_of("{" + meta + R"({"x":{}}})", 0),
       "expected text, found an object"},
      {"metadata is text", file_of("{" + meta + R"("x"})", 0), "expected an object, found \"x\""},
      {"a field twice",
       file_of(R"({"a":{"dtype":"F32","dtype":"F32","shape":[2],"data_offsets":[0,8]}})", 8),
       "found it twice"},
      {"a tensor twice", file_of("{" + a + "," + a + "}", 8), "found it twice"},
      {"metadata twice", file_of("{" + meta + R"({"x":"1","x":"2"}})", 0), "found it twice"},
      {"a second tensor cut off", file_of("{" + a + "," + b + "}", 8), "at least 12 bytes"},
  };
}

TEST(SafetensorsTest, RefusesEveryBrokenFileAndSaysWhatToDo) {
  for (const Refused& refused : refused_files()) {
    EXPECT_THAT(refusal_of(refused.content),
                AllOf(HasSubstr("/x.safetensors: "), HasSubstr(refused.message),
                      HasSubstr("expected"), HasSubstr("found"), HasSubstr("get ")))
        << refused.name;
  }
}

TEST(SafetensorsTest, TakesWhatTheReferenceTakes) {
  const std::string a = tensor("a", "F32", "[2]", "[0,8]");
  for (const std::string& content :
       {file_of("{" + a + "}", 8), file_of("{" + a + "}  \n", 8),
        file_of(
            R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"more":[{"x":[]},1,null]}})",
            8),
        file_of("{" + tensor("b", "F32", "[0]", "[8,8]") + "," + a + "," +
                    tensor("c", "U8", "[3,0]", "[0,0]") + "}",
                8),
        file_of(R"({"__metadata__":null,)" + a + "}", 8),
        file_of("{" + tensor("", "F32", "[2]", "[0,8]") + "}", 8)}) {
    EXPECT_EQ(refusal_of(content), "no error") << content.substr(8);
  }
}

TEST(SafetensorsTest, AHostileHeaderCostsNoStack) {
  const std::string deep =
      R"({"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8],"x":)" + std::string(1'000'000, '[');
  EXPECT_THAT(refusal_of(file_of(deep, 8)), HasSubstr("expected JSON"));
}

TEST(SafetensorsTest, EveryTruncationAndEveryChangedHeaderByteIsRefusedOrRead) {
  const auto env = make_system_env();
  const std::string golden = env->read_text(golden_file());
  for (std::size_t bytes = 0; bytes < golden.size(); ++bytes) {
    EXPECT_NE(refusal_of(golden.substr(0, bytes)), "no error") << bytes;
  }
  std::uint64_t header_bytes = 0;
  std::memcpy(&header_bytes, golden.data(), sizeof(header_bytes));
  for (std::size_t at = 0; at < 8 + header_bytes; ++at) {
    for (const char flip : {'\x01', '\x80'}) {
      std::string changed = golden;
      changed[at] = static_cast<char>(changed[at] ^ flip);
      refusal_of(changed);  // throws nothing but CheckpointError
    }
  }
}

TEST(SafetensorsTest, AskingForWhatIsNotThereIsAnError) {
  const auto env = make_system_env();
  const SafetensorsFile file = SafetensorsFile::open(golden_file(), *env);
  std::byte out[8];
  EXPECT_THAT(message_of([&] { file.whole("absent"); }), HasSubstr("expected a tensor 'absent'"));
  EXPECT_THAT(message_of([&] {
                file.read(whole_tensor("int32", DType::kInt32, {2, 1}), out);
              }),
              HasSubstr("int32 int32 [1, 2]"));
  EXPECT_THAT(message_of([&] {
                file.read({"int32", DType::kInt32, {1, 2}, 1, 3}, out);
              }),
              HasSubstr("int32"));
  EXPECT_THAT(message_of([&] { SafetensorsFile::open("/nowhere/x", *env); }),
              AllOf(HasSubstr("/nowhere/x"), HasSubstr("check the path")));
}

// --- Writing.

TEST(SafetensorsTest, TheWriterRefusesWhatTheFormatCannotSay) {
  MemoryEnv env;
  const auto nothing = [](const TensorRange&, void*) {};
  const auto refusal = [&](std::vector<TensorRange> tensors,
                           const std::map<std::string, std::string>& metadata = {}) {
    return message_of([&] { write_safetensors("/x", std::move(tensors), metadata, nothing, env); });
  };
  const TensorRange whole = whole_tensor("a", DType::kFloat32, {4});
  EXPECT_THAT(refusal({whole, whole}), HasSubstr("each tensor once"));
  EXPECT_THAT(refusal({whole_tensor("__metadata__", DType::kFloat32, {4})}), HasSubstr("rename"));
  EXPECT_THAT(refusal({{"a", DType::kFloat32, {4}, 0, 3}}), HasSubstr("whole tensors"));
  EXPECT_THAT(refusal({}, {{"a", "\xff"}}), HasSubstr("metadata of UTF-8"));
  EXPECT_THAT(refusal({whole_tensor("a\xff", DType::kFloat32, {4})}), HasSubstr("UTF-8"));
  EXPECT_FALSE(env.exists("/x"));
}

TEST(SafetensorsTest, AFailureOrPowerCutAnywhereLeavesTheOldFileOrTheNew) {
  const SampleState old_state = tiny_state(1), new_state = tiny_state(2);
  for (const Failure failure : {Failure::kOnce, Failure::kDeath}) {
    bool written = false;
    for (std::int64_t k = 0; !written; ++k) {
      MemoryEnv env;
      write_safetensors_of("/x.safetensors", old_state, env);
      env.fail_at(k, failure, ENOSPC);
      const std::string message =
          message_of([&] { write_safetensors_of("/x.safetensors", new_state, env); });
      written = message == "no error";
      if (!written) {
        EXPECT_THAT(message, AllOf(HasSubstr("/x.safetensors"), HasSubstr("ENOSPC")));
      }
      env.stop_failing();
      env.lose_power();
      const std::string content = env.content("/x.safetensors");
      write_safetensors_of("/old", old_state, env);
      write_safetensors_of("/new", new_state, env);
      const bool is_new = content == env.content("/new");
      EXPECT_TRUE(is_new || (!written && content == env.content("/old"))) << k;
      ASSERT_LT(k, 100);
    }
  }
}

TEST(SafetensorsTest, WhatTheReaderThrowsLeavesNoFile) {
  MemoryEnv env;
  EXPECT_THROW(
      write_safetensors(
          "/x", {whole_tensor("a", DType::kFloat32, {4})}, {},
          [](const TensorRange&, void*) { throw CheckpointError("the source is damaged"); }, env),
      CheckpointError);
  EXPECT_TRUE(env.list_directory("/").empty());
}

}  // namespace
}  // namespace muster::checkpoint
