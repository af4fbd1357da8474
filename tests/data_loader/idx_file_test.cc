// IDX files: sound ones of every type, and every way to be damaged.
#include "muster/data_loader/idx_file.h"

#include <ATen/ops/equal.h>
#include <gtest/gtest.h>
#include <unistd.h>
#include <zlib.h>

#include <cerrno>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data_loader/temporary_directory.h"
#include "muster/base/error.h"

namespace muster {
namespace {

std::string word(std::uint32_t value) {
  std::string text;
  for (int shift = 24; shift >= 0; shift -= 8) text += static_cast<char>(value >> shift & 255);
  return text;
}

std::string idx(char type, const std::vector<std::uint32_t>& shape, const std::string& data) {
  std::string file{'\0', '\0', type, static_cast<char>(shape.size())};
  for (const std::uint32_t size : shape) file += word(size);
  return file + data;
}

std::string gzip(const std::string& content) {
  z_stream stream{};
  EXPECT_EQ(deflateInit2(&stream, 9, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&stream, content.size()), '\0');
  stream.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(content.data()));
  stream.avail_in = static_cast<uInt>(content.size());
  stream.next_out = reinterpret_cast<Bytef*>(out.data());
  stream.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&stream, Z_FINISH), Z_STREAM_END);
  out.resize(stream.total_out);
  deflateEnd(&stream);
  return out;
}

const std::string kSmall = idx(8, {2, 3}, "abcdef");

class IdxFileTest : public testing::Test {
 protected:
  at::Tensor read(const std::string& content) {
    return read_idx(directory_.write("file", content));
  }

  // DataError that names the file, what was expected and found, and `part`.
  void expect_damaged(const std::string& content, const std::string& part) {
    try {
      read(content);
      ADD_FAILURE() << "expected DataError with: " << part;
    } catch (const DataError& error) {
      const std::string message = error.what();
      for (const std::string& text :
           {(directory_.path() / "file").string(), std::string("expected"), std::string("found"),
            std::string("Get the file again"), part}) {
        EXPECT_NE(message.find(text), std::string::npos) << "no \"" << text << "\" in: " << message;
      }
    }
  }

  TemporaryDirectory directory_;
};

TEST_F(IdxFileTest, BytesPlainAndCompressed) {
  for (const std::string& content : {kSmall, gzip(kSmall)}) {
    const at::Tensor values = read(content);
    EXPECT_EQ(values.scalar_type(), at::kByte);
    EXPECT_EQ(values.sizes(), (std::vector<std::int64_t>{2, 3}));
    EXPECT_EQ(std::string(static_cast<const char*>(values.const_data_ptr()), 6), "abcdef");
  }
}

TEST_F(IdxFileTest, EveryTypeIsReadInThisMachinesByteOrder) {
  EXPECT_EQ(read(idx(0x09, {1}, "\xfe")).const_data_ptr<std::int8_t>()[0], -2);
  EXPECT_EQ(read(idx(0x0B, {1}, "\xfe\xdc")).const_data_ptr<std::int16_t>()[0], -292);
  const at::Tensor ints = read(idx(0x0C, {2}, word(0x01020304) + word(0xffffffff)));
  EXPECT_EQ(ints.scalar_type(), at::kInt);
  EXPECT_EQ(ints.const_data_ptr<std::int32_t>()[0], 0x01020304);
  EXPECT_EQ(ints.const_data_ptr<std::int32_t>()[1], -1);
  EXPECT_EQ(read(idx(0x0D, {1}, word(0x40490fdb))).const_data_ptr<float>()[0], 3.14159274f);
  EXPECT_EQ(read(idx(0x0E, {1}, word(0x400921fb) + word(0x54442d18))).const_data_ptr<double>()[0],
            3.141592653589793);
}

TEST_F(IdxFileTest, SeveralGzipMembersAreOneFile) {
  const std::string content =
      gzip(kSmall.substr(0, 7)) + gzip(kSmall.substr(7, 4)) + gzip("") + gzip(kSmall.substr(11));
  EXPECT_TRUE(at::equal(read(content), read(kSmall)));
}

TEST_F(IdxFileTest, AFileLargerThanTheInputBuffer) {
  std::string data;
  std::uint32_t random = 1;
  for (int i = 0; i < 1 << 20; ++i) {
    random = random * 1664525 + 1013904223;
    data += static_cast<char>(random >> 24);
  }
  const at::Tensor values = read(gzip(idx(8, {1 << 20}, data)));
  EXPECT_EQ(std::string(static_cast<const char*>(values.const_data_ptr()), data.size()), data);
}

TEST_F(IdxFileTest, WrongMagicNumbers) {
  expect_damaged("", "4 bytes of the IDX magic number");
  expect_damaged("\x89PNG\r\n\x1a\n", "89 50 4e 47");
  expect_damaged(idx(0x07, {1}, "a"), "00 00 07 01");
  expect_damaged(idx(0x0A, {1}, "a"), "00 00 0a 01");
  expect_damaged(gzip("<html>404</html>"), "3c 68 74 6d");
}

TEST_F(IdxFileTest, ImpossibleDimensions) {
  constexpr std::uint32_t kMost = 0xffffffff;
  expect_damaged(idx(8, {}, "a"), "1 to 8 dimensions");
  expect_damaged(std::string("\0\0\x08\xff", 4), "found 255");
  expect_damaged(idx(8, {0}, ""), "at least 1");
  expect_damaged(idx(8, {1, 0, kMost}, ""), "[1, 0]");
  expect_damaged(idx(8, {kMost}, "a"), "[4294967295]");
  expect_damaged(idx(0x0E, {kMost, kMost, kMost, kMost}, "a"), "values of 8 bytes");
  expect_damaged(idx(8, {1u << 31, 1u << 31, 4}, "a"), "fit in the file");
  // Eight sizes whose product is 2^64, which is 0 in 64 bits.
  expect_damaged(idx(8, std::vector<std::uint32_t>(8, 256), "a"), "fit in the file");
  expect_damaged(gzip(idx(8, {kMost}, "a")), "fit in the file");
  expect_damaged(gzip(idx(8, {1u << 31, 1u << 31, 4}, "a")), "fit in the file");
}

TEST_F(IdxFileTest, CutShortOrTooLong) {
  for (std::size_t bytes = 0; bytes < kSmall.size(); ++bytes) {
    SCOPED_TRACE(bytes);
    expect_damaged(kSmall.substr(0, bytes), bytes < 12 ? "bytes" : "cut short");
  }
  expect_damaged(kSmall + "g", "more bytes");
  expect_damaged(gzip(kSmall + "g"), "more bytes");
  expect_damaged(gzip(kSmall.substr(0, 17)), "cut short");
}

TEST_F(IdxFileTest, EveryCutOfACompressedFile) {
  const std::string whole = gzip(kSmall);
  for (std::size_t bytes = 0; bytes < whole.size(); ++bytes) {
    SCOPED_TRACE(bytes);
    expect_damaged(whole.substr(0, bytes), "");
  }
  expect_damaged(whole.substr(0, whole.size() - 8), "a whole gzip stream");
}

TEST_F(IdxFileTest, RubbishAfterACompressedFile) {
  expect_damaged(gzip(kSmall) + "x", "another gzip stream after a complete one");
  expect_damaged(gzip(kSmall) + std::string(512, '\0'), "another gzip stream after a complete one");
  expect_damaged(gzip(kSmall) + gzip("x"), "more bytes");
  expect_damaged(gzip(kSmall) + "\x1f", "cut short");
  expect_damaged(gzip(kSmall) + "\x1fxx", "a sound gzip stream");
}

// A flipped bit is an error or, in unused fields, of no consequence: never other values.
TEST_F(IdxFileTest, EveryFlippedBitOfACompressedFile) {
  const at::Tensor whole = read(kSmall);
  const std::string content = gzip(kSmall);
  int harmless = 0;
  for (std::size_t bit = 0; bit < content.size() * 8; ++bit) {
    std::string damaged = content;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    try {
      EXPECT_TRUE(at::equal(read(damaged), whole)) << "bit " << bit;
      ++harmless;
    } catch (const DataError&) {
    }
  }
  // Time, extra flags and system (6 bytes), the text flag, the padding of the last deflate byte.
  EXPECT_LE(harmless, 8 * 6 + 1 + 7);
}

TEST_F(IdxFileTest, EveryFlippedBitOfAPlainHeader) {
  for (std::size_t bit = 0; bit < 12 * 8; ++bit) {
    std::string damaged = kSmall;
    damaged[bit / 8] = static_cast<char>(damaged[bit / 8] ^ (1 << bit % 8));
    try {
      EXPECT_EQ(read(damaged).scalar_type(), at::kChar) << "bit " << bit;  // 08 became 09
      EXPECT_EQ(bit, 16u);
    } catch (const DataError&) {
    }
  }
}

TEST_F(IdxFileTest, AMissingFileIsTheCallersToCorrect) {
  try {
    read_idx(directory_.path() / "absent.gz");
    FAIL() << "expected ConfigError";
  } catch (const ConfigError& error) {
    const std::string message = error.what();
    EXPECT_NE(message.find("absent.gz"), std::string::npos) << message;
    EXPECT_NE(message.find("install the data set"), std::string::npos) << message;
  }
  EXPECT_THROW(read_idx(directory_.path()), ConfigError);
  EXPECT_THROW(read_idx(directory_.write("file", kSmall) / "below"), ConfigError);
  EXPECT_THROW(read_idx("/dev/zero"), ConfigError);
}

// A disk on which the n-th read fails.
class FailingFile : public ReadableFile {
 public:
  FailingFile(std::unique_ptr<ReadableFile> file, int reads_before)
      : file_(std::move(file)), reads_left_(reads_before) {}
  std::uint64_t size_bytes() const override { return file_->size_bytes(); }
  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    if (reads_left_-- == 0) throw FileError("read", "disk", EIO);
    return file_->read_at(offset, out, bytes);
  }

 private:
  std::unique_ptr<ReadableFile> file_;
  mutable int reads_left_;
};

TEST_F(IdxFileTest, AFailingDiskIsADataErrorAtEveryRead) {
  const std::unique_ptr<Env> system = make_system_env();
  for (const std::string& content : {kSmall, gzip(kSmall)}) {
    const auto path = directory_.write("file", content);
    int failed = 0;
    for (int reads_before = 0;; ++reads_before) {
      struct FailingEnv : public Env {
        FailingEnv(Env& real, int reads) : real_(real), reads_(reads) {}
        std::unique_ptr<ReadableFile> open_file(const std::filesystem::path& name) override {
          return std::make_unique<FailingFile>(real_.open_file(name), reads_);
        }
        std::unique_ptr<WritableFile> create_file(const std::filesystem::path& name) override {
          return real_.create_file(name);
        }
        void create_directories(const std::filesystem::path&) override {}
        void sync_directory(const std::filesystem::path&) override {}
        void rename(const std::filesystem::path&, const std::filesystem::path&) override {}
        void remove_all(const std::filesystem::path&) override {}
        std::vector<std::string> list_directory(const std::filesystem::path&) override {
          return {};
        }
        bool exists(const std::filesystem::path& name) override { return real_.exists(name); }
        std::chrono::system_clock::time_point now() override { return real_.now(); }
        Env& real_;
        int reads_;
      } env(*system, reads_before);
      try {
        read_idx(path, env);
        break;
      } catch (const DataError& error) {
        EXPECT_NE(std::string(error.what()).find("EIO"), std::string::npos) << error.what();
        ++failed;
      }
    }
    EXPECT_GE(failed, 3);
  }
}

// Written by another maker: Debian's package dataset-fashion-mnist.
TEST(FashionMnistTest, TheTestSetIsReadWhole) {
  const std::filesystem::path directory = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(directory)) GTEST_SKIP() << "needs dataset-fashion-mnist (apt)";
  const at::Tensor images = read_idx(directory / "t10k-images-idx3-ubyte.gz");
  const at::Tensor labels = read_idx(directory / "t10k-labels-idx1-ubyte.gz");
  EXPECT_EQ(images.sizes(), (std::vector<std::int64_t>{10000, 28, 28}));
  EXPECT_EQ(labels.sizes(), (std::vector<std::int64_t>{10000}));
  std::vector<int> counts(10, 0);
  for (std::int64_t i = 0; i < 10000; ++i) ++counts.at(labels.const_data_ptr<std::uint8_t>()[i]);
  EXPECT_EQ(counts, std::vector<int>(10, 1000));
}

}  // namespace
}  // namespace muster
