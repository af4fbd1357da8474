// Reads IDX files, the format of MNIST and its kin (http://yann.lecun.com/exdb/mnist, "The IDX file
// format").
#ifndef MUSTER_DATA_LOADER_IDX_FILE_H_
#define MUSTER_DATA_LOADER_IDX_FILE_H_

#include <ATen/core/Tensor.h>

#include <filesystem>

#include "muster/base/env.h"

namespace muster {

/// The whole file as a CPU tensor with the file's shape: uint8, int8, int16, int32, float32 or
/// float64 (big-endian in the file). Plain or gzip, told apart by content, not by name. Blocks. Any
/// thread. Every number in the file is checked before it is used; memory is reserved only for what
/// the file can hold. Throws ConfigError when there is no such file or it may not be read;
/// DataError, saying what was expected, what was found and what to do, when it is no IDX file, is
/// cut short, has bytes left over, or its gzip stream is damaged.
at::Tensor read_idx(const std::filesystem::path& path);
at::Tensor read_idx(const std::filesystem::path& path, Env& env);

}  // namespace muster

#endif  // MUSTER_DATA_LOADER_IDX_FILE_H_
