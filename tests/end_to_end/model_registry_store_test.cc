// The model registry in an S3-compatible store.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <map>
#include <random>
#include <set>
#include <sstream>

#include "muster/base/json.h"
#include "object_store_fixture.h"

namespace muster::testing {
namespace {

namespace fs = std::filesystem;
using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::StartsWith;

// A name that needs percent-encoding.
constexpr const char* kRegistry = "s3://muster-test/our models+more";

class ModelRegistryInStore : public ObjectStore {
 protected:
  ModelRegistryInStore() { environment_["MUSTER_REGISTRY"] = kRegistry; }

  std::vector<std::string> keys(const std::string& prefix) {
    std::istringstream lines(server_->python(
        "for page in s3.get_paginator('list_objects_v2').paginate(Bucket='muster-test'):\n"
        "  for one in page.get('Contents', []): print(one['Key'])\n"));
    std::vector<std::string> found;
    for (std::string line; std::getline(lines, line);) {
      if (line.starts_with(prefix)) found.push_back(line);
    }
    return found;
  }
  /// The directories below `prefix`, which ends with '/'.
  std::set<std::string> directories(const std::string& prefix) {
    std::set<std::string> found;
    for (const std::string& key : keys(prefix)) {
      if (key == prefix) continue;  // Arrow's mark of a directory that lost what was in it
      found.insert(key.substr(prefix.size(), key.find('/', prefix.size()) - prefix.size()));
    }
    return found;
  }
  Json list(const std::string& name) {
    const ProgramResult result = run({"model", "list", name, "--json"});
    EXPECT_EQ(result.exit_code, 0) << result.err;
    return parse_json(result.out, "list");
  }
};

TEST_F(ModelRegistryInStore, KeepsModelsThatAreListedFoundPromotedAndReadAndNamesDamage) {
  const fs::path here = scratch_.path() / "here";
  const fs::path first = save(here, 5, 1000), second = save(here, 10, 1000);
  const ProgramResult added =
      run({"model", "register", first.string(), "m", "--metrics", "accuracy=0.5", "--json"});
  ASSERT_EQ(added.exit_code, 0) << added.err;
  const Json one = parse_json(added.out, "register");
  EXPECT_EQ(one.at("digest"), hash(first));
  EXPECT_EQ(one.at("run"), "here");
  const std::string at = one.at("checkpoint");
  EXPECT_THAT(at, StartsWith(std::string(kRegistry) + "/models/m/uploads/"));

  // One that is in the store itself; and the same into a registry on disk.
  const std::string run_url = std::string(kBucket) + "/run";
  ASSERT_EQ(run({"copy", second.string(), run_url}).exit_code, 0);
  const ProgramResult next = run({"model", "register", run_url, "m", "--parent", "m@1"});
  EXPECT_EQ(next.exit_code, 0) << next.err;
  EXPECT_THAT(next.out, AllOf(StartsWith("m@2 "), HasSubstr(hash(second)), HasSubstr("from m@1")));
  const std::string on_disk = (scratch_.path() / "registry").string();
  ASSERT_EQ(run({"model", "register", run_url, "m", "--registry", on_disk}).exit_code, 0);
  EXPECT_EQ(hash(on_disk + "/models/m/versions/v00000001/checkpoint"), hash(second));

  EXPECT_EQ(run({"model", "promote", "m", "1", "production"}).exit_code, 0);
  EXPECT_EQ(run({"model", "get", "m@production"}).out, at + "\n");
  EXPECT_EQ(list("m").size(), 2u);
  EXPECT_THAT(run({"model", "list", std::string("--registry=") + kRegistry}).out,
              AllOf(HasSubstr("m@1 "), HasSubstr("  in production\nm@2 ")));
  EXPECT_THAT(run({"verify", at}).out, HasSubstr("sound"));
  EXPECT_THAT(run({"inspect", at}).out, HasSubstr(hash(first)));
  EXPECT_EQ(run({"copy", at, (scratch_.path() / "back").string()}).exit_code, 0);
  EXPECT_EQ(hash(scratch_.path() / "back/step-00000005"), hash(first));
  const ProgramResult absent = run({"model", "promote", "m", "3", "production"});
  EXPECT_EQ(absent.exit_code, kConfigError);
  EXPECT_THAT(absent.err, HasSubstr("found versions 1 to 2"));

  const std::string record = "our models+more/models/m/versions/v00000002/version.json";
  server_->python("at = {'Bucket': 'muster-test', 'Key': '" + record +
                  "'}\n"
                  "text = s3.get_object(**at)['Body'].read()\n"
                  "s3.put_object(**at, Body=text.replace(b'\"m\"', b'\"n\"'))");
  const ProgramResult damaged = run({"model", "list"});
  EXPECT_EQ(damaged.exit_code, kCheckpointError);
  EXPECT_THAT(damaged.err, AllOf(HasSubstr("s3://muster-test/" + record),
                                 HasSubstr("expected the record to end with its own checksum")));
}

TEST_F(ModelRegistryInStore, ProcessesAtOnceEachGetTheirNumberAndNoneIsLost) {
  constexpr int kProcesses = 8, kPromotions = 4;
  const fs::path saved = save(scratch_.path() / "here", 5, 1000);
  std::vector<std::unique_ptr<Program>> programs;
  for (int p = 0; p < kProcesses; ++p) {
    programs.push_back(
        start({"model", "register", saved.string(), "m", "--run", std::to_string(p)}));
  }
  for (const auto& program : programs) {
    const ProgramResult result = program->wait();
    EXPECT_EQ(result.exit_code, 0) << result.err;
  }
  const Json versions = list("m");
  ASSERT_EQ(versions.size(), static_cast<std::size_t>(kProcesses));
  std::set<std::string> runs, uploads;
  for (int v = 0; v < kProcesses; ++v) {
    EXPECT_EQ(versions[v].at("version"), v + 1);
    runs.insert(versions[v].at("run"));
    uploads.insert(versions[v].at("checkpoint"));
    EXPECT_EQ(run({"verify", versions[v].at("checkpoint")}).exit_code, 0);
  }
  EXPECT_EQ(runs.size(), versions.size()) << "nobody's version was replaced";
  EXPECT_EQ(uploads.size(), versions.size());

  programs.clear();
  for (int v = 1; v <= kPromotions; ++v)
    programs.push_back(start({"model", "promote", "m", std::to_string(v), "production"}));
  for (const auto& program : programs) EXPECT_EQ(program->wait().exit_code, 0);
  const std::set<std::string> promotions =
      directories("our models+more/models/m/stages/production/");
  EXPECT_THAT(promotions, ElementsAre("v00000001", "v00000002", "v00000003", "v00000004"));
  const Json last = parse_json(
      server_->python(
          "print(s3.get_object(Bucket='muster-test', Key='our models+more/models/m/stages/"
          "production/v00000004/promotion.json')['Body'].read().decode())"),
      "promotion");
  const int promoted = last.at("model_version");
  EXPECT_EQ(run({"model", "get", "m@production"}).out,
            versions[promoted - 1].at("checkpoint").get<std::string>() + "\n");
}

TEST_F(ModelRegistryInStore, AKillLeavesNoVersionAndTheNextRegistrationCleansUp) {
  const fs::path saved = save(scratch_.path() / "here", 3, 4 << 20);
  const auto seed = std::random_device{}();
  SCOPED_TRACE("seed " + std::to_string(seed));
  std::mt19937 random(seed);
  for (int i = 0; i < 4; ++i) {
    const auto adding = start({"model", "register", saved.string(), "m"});
    const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(random() % 500);
    wait_until([&] { return !adding->running() || std::chrono::steady_clock::now() > until; },
               std::chrono::seconds(60));
    if (adding->running()) adding->signal(SIGKILL);
    adding->wait();
  }
  const ProgramResult next = run({"model", "register", saved.string(), "m"});
  ASSERT_EQ(next.exit_code, 0) << next.err;
  // Those that became versions are whole; of the others nothing is left.
  const Json versions = list("m");
  EXPECT_THAT(next.out, StartsWith("m@" + std::to_string(versions.size()) + " "));
  std::set<std::string> uploads;
  for (const Json& version : versions) {
    EXPECT_EQ(run({"verify", version.at("checkpoint")}).exit_code, 0);
    uploads.insert(fs::path(version.at("checkpoint").get<std::string>()).filename());
  }
  EXPECT_EQ(directories("our models+more/models/m/uploads/"), uploads);
}

TEST_F(ModelRegistryInStore, ItsSignaturesHold) {
  const fs::path saved = save(scratch_.path() / "here", 3, 1000);
  // From here on the store knows its users, one of whom has a session.
  std::istringstream made(server_->python(
      "import json, urllib.request\n"
      "iam, sts = boto3.client('iam'), boto3.client('sts')\n"
      "def policy(action, **more):\n"
      "  return json.dumps({'Version': '2012-10-17', 'Statement':\n"
      "                     [{'Effect': 'Allow', 'Action': action, **more}]})\n"
      "role = iam.create_role(RoleName='r', AssumeRolePolicyDocument=policy(\n"
      "    'sts:AssumeRole', Principal={'AWS': '*'}))['Role']['Arn']\n"
      "iam.put_role_policy(RoleName='r', PolicyName='p', PolicyDocument=policy(\n"
      "    's3:*', Resource='*'))\n"
      "keys = sts.assume_role(RoleArn=role, RoleSessionName='session')['Credentials']\n"
      "print(keys['AccessKeyId'], keys['SecretAccessKey'], keys['SessionToken'])\n"
      "urllib.request.urlopen(urllib.request.Request(\n"
      "    '" +
      environment_["AWS_ENDPOINT_URL"] +
      "/moto-api/reset-auth', b'0', {'Content-Type': 'text/plain'}))"));
  std::string key, secret, token;
  made >> key >> secret >> token;
  environment_["AWS_ACCESS_KEY_ID"] = key;
  environment_["AWS_SECRET_ACCESS_KEY"] = secret;
  environment_["AWS_SESSION_TOKEN"] = token;
  const ProgramResult added = run({"model", "register", saved.string(), "m"});
  EXPECT_EQ(added.exit_code, 0) << added.err;
  EXPECT_EQ(run({"model", "promote", "m", "1", "production"}).exit_code, 0);
  environment_["AWS_SECRET_ACCESS_KEY"] = "another";
  const ProgramResult refused = run({"model", "register", saved.string(), "m"});
  EXPECT_EQ(refused.exit_code, kCheckpointError);
  EXPECT_THAT(refused.err, HasSubstr("HTTP 403 SignatureDoesNotMatch"));
}

class StoreThatIsDown : public ModelRegistryInStore {
 protected:
  void SetUp() override {
    environment_.merge(ObjectStoreServer::credentials());
    environment_["AWS_ENDPOINT_URL"] = "http://127.0.0.1:1";  // where nobody listens
  }
};

TEST_F(StoreThatIsDown, IsSaidToBe) {
  const fs::path saved = save(scratch_.path() / "here", 1, 10);
  for (const std::vector<std::string>& words :
       {std::vector<std::string>{"model", "register", saved.string(), "m"}, {"model", "list"}}) {
    const ProgramResult result = run(words);
    EXPECT_EQ(result.exit_code, kCheckpointError) << words[1];
    EXPECT_THAT(result.err, AllOf(StartsWith("CheckpointError: "), HasSubstr(kRegistry),
                                  HasSubstr("check the connection to the store")));
  }
}

}  // namespace
}  // namespace muster::testing
