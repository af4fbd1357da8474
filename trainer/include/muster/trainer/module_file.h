// A module's weights from and to a safetensors file, as PyTorch and Hugging Face's libraries read
// and write them.
#ifndef MUSTER_TRAINER_MODULE_FILE_H_
#define MUSTER_TRAINER_MODULE_FILE_H_

#include <filesystem>
#include <map>
#include <string>

namespace torch::nn {
class Module;
}

namespace muster {

/// Copies each tensor of the file into the module's parameter or buffer of that name, converting
/// floating-point dtypes. One registered under several names may be in the file under any of them.
/// Blocks. Throws CheckpointError for a file that cannot be read, and ConfigError naming all
/// tensors that are missing, are not the module's, or have another shape or kind of dtype; the
/// module is then unchanged.
void load_module(torch::nn::Module& module, const std::filesystem::path& path);

/// Writes parameters and buffers as they are, those registered under several names under the first.
/// `metadata` is the file's. Blocks; when it returns the file survives a power cut. Throws
/// CheckpointError.
void save_module(torch::nn::Module& module, const std::filesystem::path& path,
                 const std::map<std::string, std::string>& metadata = {});

}  // namespace muster

#endif  // MUSTER_TRAINER_MODULE_FILE_H_
