// Descriptions, line by line.
#include "model_agreement.h"

#include <sstream>
#include <string>

#include "muster/base/error.h"
#include "run_together.h"
#include "text_exchange.h"

namespace muster::internal {
namespace {

std::string describe(const char* part, const std::string& name, const at::Tensor& tensor) {
  std::ostringstream line;
  line << part << " '" << name << "' " << tensor.sizes() << " of " << tensor.scalar_type() << "\n";
  return line.str();
}

std::string describe(const ModuleTensors& tensors) {
  std::string lines;
  for (const auto& [name, tensor] : tensors.trainable) lines += describe("parameter", name, tensor);
  for (const auto& [name, tensor] : tensors.frozen)
    lines += describe("frozen parameter", name, tensor);
  for (const auto& [name, tensor] : tensors.buffers) lines += describe("buffer", name, tensor);
  return lines;
}

}  // namespace

void check_same_model(const ModuleTensors& tensors, Communicator& communicator) {
  if (communicator.world_size() == 1) return;
  const std::string own = describe(tensors);
  const std::string expected = broadcast_text(communicator, own);
  run_together(communicator, [&] {
    if (own == expected) return;
    std::istringstream own_lines(own), expected_lines(expected);
    std::string found, wanted;
    do {
      if (!std::getline(expected_lines, wanted)) wanted = "nothing more";
      if (!std::getline(own_lines, found)) found = "nothing more";
    } while (found == wanted);
    throw ConfigError("model: expected that of rank 0 on every rank, " + wanted + ", found " +
                      found + " on rank " + std::to_string(communicator.rank()) +
                      "; build the same model everywhere, in the same order");
  });
}

}  // namespace muster::internal
