// Words of `muster export`.
#include "commands/export_words.h"

#include <cstdio>

#include "muster/base/error.h"

namespace muster::launcher {

ExportRequest parse_export(const Words& words) {
  const ParsedWords parsed =
      take_words(words, "export", {"--ema", "--all"}, 1, 1, {"--safetensors", "--hdf5", "--dtype"});
  const auto safetensors = parsed.values.find("--safetensors");
  const auto hdf5 = parsed.values.find("--hdf5");
  if ((safetensors == parsed.values.end()) == (hdf5 == parsed.values.end())) {
    throw ConfigError(
        "muster export: expected either --safetensors FILE or --hdf5 FILE; see muster help export");
  }
  ExportRequest request;
  request.source = parsed.operands[0];
  request.hdf5 = hdf5 != parsed.values.end();
  request.target = request.hdf5 ? hdf5->second : safetensors->second;
  if (request.target.empty() || request.target.ends_with('/')) {
    throw ConfigError("muster export: expected the name of a file to write, found '" +
                      request.target + "'");
  }
  request.options.everything = parsed.switches.contains("--all");
  request.options.averages = parsed.switches.contains("--ema");
  if (const auto dtype = parsed.values.find("--dtype"); dtype != parsed.values.end()) {
    if (dtype->second != "float32" && dtype->second != "float16" && dtype->second != "bfloat16") {
      throw ConfigError("muster export: expected --dtype float32, float16 or bfloat16, found '" +
                        dtype->second + "'");
    }
    request.options.dtype = dtype_from_name(dtype->second);
  }
  request.options.validate();
  return request;
}

void print_exported(const checkpoint::Checkpoint& source, const ExportRequest& request,
                    const checkpoint::Exported& exported) {
  std::printf("%s: %lld tensors, %lld bytes, from %s\n", request.target.c_str(),
              static_cast<long long>(exported.tensors), static_cast<long long>(exported.bytes),
              source.directory().c_str());
  for (const auto& [name, count] : exported.overflows) {
    std::fprintf(stderr,
                 "warning: %s: %lld elements are too large for the dtype and became infinite\n",
                 name.c_str(), static_cast<long long>(count));
  }
}

}  // namespace muster::launcher
