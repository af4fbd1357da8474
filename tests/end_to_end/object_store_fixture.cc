// Small checkpoints, and the program `muster`.
#include "object_store_fixture.h"

#include "muster/checkpoint/checkpoint.h"
#include "muster/checkpoint/checkpoint_store.h"

namespace muster::testing {
namespace fs = std::filesystem;
using checkpoint::CheckpointStore;

void ObjectStore::SetUp() {
  if (!ObjectStoreServer::available()) GTEST_SKIP() << ObjectStoreServer::missing();
  server_ = std::make_unique<ObjectStoreServer>();
  for (const auto& [name, value] : server_->environment()) environment_[name] = value;
}

std::unique_ptr<Program> ObjectStore::start(std::vector<std::string> words) {
  words.insert(words.begin(), std::string(MUSTER_BIN_DIR) + "/muster");
  return std::make_unique<Program>(words, scratch_.path(), environment_);
}

fs::path ObjectStore::save(const fs::path& directory, std::int64_t step, std::size_t elements) {
  std::vector<float> data(elements);
  for (std::size_t i = 0; i < elements; ++i)
    data[i] = static_cast<float>(i % 9973) + static_cast<float>(step);
  const auto n = static_cast<std::int64_t>(elements);
  CheckpointStore store(directory, *env_);
  store.prepare();
  std::vector<checkpoint::ShardRecord> records;
  for (int rank = 0; rank < 2; ++rank) {
    checkpoint::TensorRange range = checkpoint::whole_tensor("w", DType::kFloat32, {n});
    range.begin = n * rank / 2;
    range.end = n * (rank + 1) / 2;
    const checkpoint::SourceRange source{range, data.data() + range.begin};
    records.push_back(store.write_shard(step, 0, rank, 2, {&source, 1}));
  }
  return store.commit(step, 0, records, Json{{"progress", {{"step", step}}}});
}

std::string ObjectStore::hash(const fs::path& path) {
  return checkpoint::Checkpoint::open(path, *env_).state_hash();
}

}  // namespace muster::testing
