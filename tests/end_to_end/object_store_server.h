// An S3-compatible store for a test: moto's server, on a port of its own of the loopback.
#ifndef MUSTER_TESTS_END_TO_END_OBJECT_STORE_SERVER_H_
#define MUSTER_TESTS_END_TO_END_OBJECT_STORE_SERVER_H_

#include <map>
#include <memory>
#include <string>

#include "subprocess.h"

namespace muster::testing {

/// With one bucket, kBucket. Ends with the object. Now and then a conditional write gets no answer,
/// or is asked to come again.
class ObjectStoreServer {
 public:
  static constexpr const char* kBucket = "muster-test";

  /// Whether moto is installed; else the test is skipped, by this name: `missing()`.
  static bool available();
  static std::string missing();

  /// Blocks until it answers; fails the test where it does not.
  ObjectStoreServer();

  /// What a program needs to use any such server, its address aside; and to find this one.
  static std::map<std::string, std::string> credentials();
  std::map<std::string, std::string> environment() const;
  /// "s3://muster-test/KEY"
  static std::string url(const std::string& key);

  /// A call of Amazon's own client, which came with moto: "put_object(Bucket='muster-test', ...)".
  void client(const std::string& call) const { python("s3." + call); }
  /// Lines of Python, for which `s3` is that client. Returns what they print.
  std::string python(const std::string& code) const;

 private:
  ScratchDirectory directory_;
  std::unique_ptr<Program> server_;
  std::string url_;
};

}  // namespace muster::testing

#endif  // MUSTER_TESTS_END_TO_END_OBJECT_STORE_SERVER_H_
