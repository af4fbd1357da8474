// Arrow's S3 filesystem as an Env.
#include "s3_env.h"

#include <arrow/filesystem/s3fs.h>
#include <arrow/io/interfaces.h>
#include <arrow/util/io_util.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <thread>
#include <utility>

#include "conditional_put.h"
#include "muster/base/error.h"

namespace muster::launcher {
namespace fs = std::filesystem;

namespace {

constexpr int kAttempts = 3;
constexpr int kCreateAttempts = 5;
constexpr std::chrono::milliseconds kFirstPause{100};
constexpr double kConnectSeconds = 5;
constexpr double kRequestSeconds = 60;

std::string key_of(const fs::path& path) {
  constexpr std::string_view kScheme = "s3://";
  std::string text = path.string();
  if (text.starts_with(kScheme)) text.erase(0, kScheme.size());
  while (text.ends_with('/')) text.pop_back();
  return text;
}

[[noreturn]] void refuse(const arrow::Status& status, const char* operation, const fs::path& path) {
  const bool missing = arrow::internal::ErrnoFromStatus(status) == ENOENT;
  throw FileError(std::string(operation) + " (" + status.message() + ")", path,
                  missing ? ENOENT : EHOSTUNREACH);
}

void check(const arrow::Status& status, const char* operation, const fs::path& path) {
  if (!status.ok()) refuse(status, operation, path);
}

template <typename T>
T value_of(arrow::Result<T> result, const char* operation, const fs::path& path) {
  if (!result.ok()) refuse(result.status(), operation, path);
  return std::move(result).ValueUnsafe();
}

const char* setting(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr || *value == '\0' ? nullptr : value;
}

void set_endpoint(arrow::fs::S3Options& options) {
  const char* url = setting("AWS_ENDPOINT_URL_S3");
  if (url == nullptr) url = setting("AWS_ENDPOINT_URL");
  if (url == nullptr) return;
  const std::string text = url;
  const auto mark = text.find("://");
  if (mark == std::string::npos || mark + 3 == text.size()) {
    throw CheckpointError("AWS_ENDPOINT_URL: expected http://HOST:PORT or https://HOST, found '" +
                          text + "'; correct or unset it");
  }
  options.scheme = text.substr(0, mark);
  options.endpoint_override = text.substr(mark + 3);
}

arrow::fs::S3Options options_from_environment() {
  arrow::fs::S3Options options = arrow::fs::S3Options::Defaults();
  set_endpoint(options);
  const char* region = setting("AWS_REGION");
  if (region == nullptr) region = setting("AWS_DEFAULT_REGION");
  options.region = region == nullptr ? "us-east-1" : region;
  options.connect_timeout = kConnectSeconds;
  options.request_timeout = kRequestSeconds;
  options.retry_strategy = arrow::fs::S3RetryStrategy::GetAwsStandardRetryStrategy(kAttempts);
  return options;
}

/// As the SDK in Arrow finds it: another store than Amazon's has its buckets in paths.
ObjectPlace place_of(const fs::path& path, const arrow::fs::S3Options& options) {
  const std::string key = key_of(path);
  ObjectPlace place{.scheme = options.scheme,
                    .host = options.endpoint_override,
                    .path = "/" + key,
                    .region = options.region};
  if (!place.host.empty()) return place;
  const std::string bucket = key.substr(0, key.find('/'));
  place.host = "s3." + options.region + ".amazonaws.com";
  if (options.region.starts_with("cn-")) place.host += ".cn";
  if (bucket.find('.') != std::string::npos) return place;  // no certificate is for such a host
  place.host = bucket + "." + place.host;
  place.path = key.substr(bucket.size());
  return place;
}

/// Whether to ask again: nobody answered, or others are asking, too.
bool is_passing(int status) {
  switch (status) {
    case 0:
    case 409:
    case 429:
    case 500:
    case 502:
    case 503:
    case 504:
      return true;
    default:
      return false;
  }
}

class S3Writable : public WritableFile {
 public:
  S3Writable(std::shared_ptr<arrow::io::OutputStream> stream, fs::path path)
      : stream_(std::move(stream)), path_(std::move(path)) {}
  // Closing would publish half an object.
  ~S3Writable() override {
    if (!stream_->closed()) static_cast<void>(stream_->Abort());
  }

  void write_at(std::uint64_t offset, const void* data, std::size_t bytes) override {
    if (offset != written_) throw FileError("write", path_, ESPIPE);
    check(stream_->Write(data, static_cast<std::int64_t>(bytes)), "write", path_);
    written_ += bytes;
  }
  void sync() override {}  // an object is durable once it is closed
  void close() override { check(stream_->Close(), "close", path_); }

 private:
  std::shared_ptr<arrow::io::OutputStream> stream_;
  fs::path path_;
  std::uint64_t written_ = 0;
};

class S3Readable : public ReadableFile {
 public:
  S3Readable(std::shared_ptr<arrow::io::RandomAccessFile> file, fs::path path)
      : file_(std::move(file)), path_(std::move(path)) {}

  std::uint64_t size_bytes() const override {
    return static_cast<std::uint64_t>(value_of(file_->GetSize(), "size of", path_));
  }
  std::size_t read_at(std::uint64_t offset, void* out, std::size_t bytes) const override {
    const std::uint64_t size = size_bytes();
    if (offset >= size) return 0;
    const auto wanted = static_cast<std::int64_t>(std::min<std::uint64_t>(bytes, size - offset));
    return static_cast<std::size_t>(
        value_of(file_->ReadAt(static_cast<std::int64_t>(offset), wanted, out), "read", path_));
  }

 private:
  std::shared_ptr<arrow::io::RandomAccessFile> file_;
  fs::path path_;
};

}  // namespace

struct S3Env::Connection {
  arrow::fs::S3Options options;
  std::shared_ptr<arrow::fs::S3FileSystem> files;
};

S3Env::S3Env() : connection_(std::make_unique<Connection>()) {
  arrow::fs::S3GlobalOptions global = arrow::fs::S3GlobalOptions::Defaults();
  global.log_level = arrow::fs::S3LogLevel::Off;  // errors come back as such
  const arrow::Status status = arrow::fs::InitializeS3(global);
  connection_->options = options_from_environment();
  auto files = arrow::fs::S3FileSystem::Make(connection_->options);
  if (!status.ok() || !files.ok()) {
    throw CheckpointError(
        "the object store cannot be used: " + (status.ok() ? files.status() : status).message() +
        "; check the AWS_* variables");
  }
  connection_->files = *files;
}

S3Env::~S3Env() {
  connection_.reset();
  static_cast<void>(arrow::fs::FinalizeS3());
}

std::unique_ptr<WritableFile> S3Env::create_file(const fs::path& path) {
  return std::make_unique<S3Writable>(
      value_of(connection_->files->OpenOutputStream(key_of(path)), "create", path), path);
}

std::unique_ptr<ReadableFile> S3Env::open_file(const fs::path& path) {
  return std::make_unique<S3Readable>(
      value_of(connection_->files->OpenInputFile(key_of(path)), "open", path), path);
}

void S3Env::create_directories(const fs::path&) {}

void S3Env::sync_directory(const fs::path&) {}

void S3Env::rename(const fs::path& from, const fs::path&) {
  throw FileError("rename", from, ENOTSUP);
}

void S3Env::remove_all(const fs::path& path) {
  const std::string key = key_of(path);
  const auto info = value_of(connection_->files->GetFileInfo(key), "look at", path);
  if (info.type() == arrow::fs::FileType::File)
    check(connection_->files->DeleteFile(key), "delete", path);
  if (info.type() == arrow::fs::FileType::Directory)
    check(connection_->files->DeleteDir(key), "delete", path);
}

std::vector<std::string> S3Env::list_directory(const fs::path& path) {
  arrow::fs::FileSelector selector;
  selector.base_dir = key_of(path);
  std::vector<std::string> names;
  for (const auto& info : value_of(connection_->files->GetFileInfo(selector), "list", path))
    names.push_back(info.base_name());
  std::sort(names.begin(), names.end());
  return names;
}

bool S3Env::exists(const fs::path& path) {
  return value_of(connection_->files->GetFileInfo(key_of(path)), "look at", path).type() !=
         arrow::fs::FileType::NotFound;
}

bool S3Env::create_once(const fs::path& path, const std::string& text) {
  const arrow::fs::S3Options& options = connection_->options;
  const ObjectPlace place = place_of(path, options);
  bool maybe_created = false;
  auto pause = kFirstPause;
  for (int attempt = 1;; ++attempt) {
    const StoreCredentials credentials{options.GetAccessKey(), options.GetSecretKey(),
                                       options.GetSessionToken()};
    const StoreAnswer answer = put_if_none(place, credentials, text, now());
    if (answer.status == 200) return true;
    if (answer.status == 412) return maybe_created && read_text(path) == text;
    if (!is_passing(answer.status) || attempt == kCreateAttempts) {
      throw FileError("create (" + answer.text + ")", path,
                      answer.status == 404 ? ENOENT : EHOSTUNREACH);
    }
    maybe_created = maybe_created || answer.status == 0 || answer.status >= 500;
    std::this_thread::sleep_for(pause);
    pause *= 2;
  }
}

std::chrono::system_clock::time_point S3Env::now() { return std::chrono::system_clock::now(); }

}  // namespace muster::launcher
