// Starting moto and asking it.
#include "object_store_server.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <vector>

namespace muster::testing {

bool ObjectStoreServer::available() { return std::filesystem::exists(MUSTER_MOTO_DIR); }

std::string ObjectStoreServer::missing() {
  return std::string("needs moto in ") + MUSTER_MOTO_DIR + "; run scripts/setup";
}

ObjectStoreServer::ObjectStoreServer() {
  server_ = std::make_unique<Program>(
      std::vector<std::string>{
          "/usr/bin/env", "python3",
          std::string(MUSTER_SOURCE_DIR) + "/tests/end_to_end/object_store_server.py"},
      directory_.path(), std::map<std::string, std::string>{{"PYTHONPATH", MUSTER_MOTO_DIR}});
  const std::string mark = "http://127.0.0.1:";
  std::string said;
  const bool answers = wait_until(
      [&] {
        said = server_->error();
        const auto at = said.find(mark);
        return at != std::string::npos && said.find('\n', at) != std::string::npos;
      },
      std::chrono::seconds(60));
  EXPECT_TRUE(answers) << said;
  if (!answers) return;
  const auto at = said.find(mark);
  url_ = said.substr(at, said.find_first_not_of("0123456789", at + mark.size()) - at);
  client(std::string("create_bucket(Bucket='") + kBucket + "')");
}

std::map<std::string, std::string> ObjectStoreServer::credentials() {
  return {{"AWS_ACCESS_KEY_ID", "anyone"},
          {"AWS_SECRET_ACCESS_KEY", "anything"},
          {"AWS_DEFAULT_REGION", "us-east-1"},
          {"AWS_EC2_METADATA_DISABLED", "true"}};
}

std::map<std::string, std::string> ObjectStoreServer::environment() const {
  std::map<std::string, std::string> settings = credentials();
  settings["AWS_ENDPOINT_URL"] = url_;
  return settings;
}

std::string ObjectStoreServer::url(const std::string& key) {
  return std::string("s3://") + kBucket + "/" + key;
}

std::string ObjectStoreServer::python(const std::string& code) const {
  std::map<std::string, std::string> settings = environment();
  settings["PYTHONPATH"] = MUSTER_MOTO_DIR;
  const ProgramResult result =
      Program({"/usr/bin/env", "python3", "-c", "import boto3\ns3 = boto3.client('s3')\n" + code},
              directory_.path(), settings)
          .wait();
  EXPECT_EQ(result.exit_code, 0) << result.err;
  return result.out;
}

}  // namespace muster::testing
