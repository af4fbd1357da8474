// Decoders in safetensors files: the tensors say all of the model but the number of heads, which
// stands in the file's metadata.
#ifndef MUSTER_EXAMPLES_GPT_FILE_H_
#define MUSTER_EXAMPLES_GPT_FILE_H_

#include <algorithm>
#include <filesystem>
#include <string>

#include "gpt.h"
#include "muster/base/env.h"
#include "muster/base/error.h"
#include "muster/checkpoint/safetensors.h"
#include "muster/trainer/module_file.h"

inline GptOptions gpt_options_of(const std::filesystem::path& path) {
  const auto env = muster::make_system_env();
  const auto file = muster::checkpoint::SafetensorsFile::open(path, *env);
  const auto size = [&](const std::string& name, std::size_t dimension) {
    const std::vector<std::int64_t> shape = file.whole(name).shape;
    if (dimension < shape.size()) return shape[dimension];
    throw muster::ConfigError(path.string() + ": '" + name + "': expected a matrix, found " +
                              std::to_string(shape.size()) + " dimensions; give a decoder");
  };
  GptOptions options;
  options.vocabulary = size("tokens.weight", 0);
  options.width = size("tokens.weight", 1);
  options.context = size("positions.weight", 0);
  options.layers = std::count_if(file.tensors().begin(), file.tensors().end(),
                                 [](const auto& t) { return t.first.ends_with(".qkv.weight"); });
  const auto heads = file.metadata().find("heads");
  options.heads = heads == file.metadata().end() ? 0 : std::atoll(heads->second.c_str());
  if (options.heads < 1 || options.width % options.heads != 0) {
    throw muster::ConfigError(path.string() +
                              ": expected metadata \"heads\" that divide the width of " +
                              std::to_string(options.width) + ", found " +
                              (heads == file.metadata().end() ? "none" : heads->second) +
                              "; write it as make_decoder.py does");
  }
  return options;
}

inline Gpt load_gpt(const std::filesystem::path& path, double dropout,
                    bool activation_checkpointing) {
  GptOptions options = gpt_options_of(path);
  options.dropout = dropout;
  options.activation_checkpointing = activation_checkpointing;
  Gpt gpt(options);
  muster::load_module(*gpt, path);
  return gpt;
}

inline void save_gpt(Gpt& gpt, const std::filesystem::path& path) {
  const auto block = std::dynamic_pointer_cast<GptBlockImpl>(gpt->blocks->ptr(0));
  muster::save_module(*gpt, path, {{"heads", std::to_string(block->heads)}});
}

#endif  // MUSTER_EXAMPLES_GPT_FILE_H_
