// Export for Hugging Face's tools.
#include "exported_tensors.h"
#include "muster/checkpoint/export.h"
#include "muster/checkpoint/safetensors.h"

namespace muster::checkpoint {

Exported export_safetensors(const Checkpoint& checkpoint, const std::filesystem::path& path,
                            const ExportOptions& options, Env& env) {
  internal::ExportedTensors tensors(checkpoint, options);
  const Manifest& manifest = checkpoint.manifest();
  write_safetensors(
      path, tensors.tensors(),
      {{"format", "pt"},
       {"muster_version", manifest.muster_version},
       {"step", std::to_string(manifest.step)}},
      [&](const TensorRange& range, void* out) { tensors.read(range, out); }, env);
  return tensors.result();
}

}  // namespace muster::checkpoint
