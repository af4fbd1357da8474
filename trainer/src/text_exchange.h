// Texts between ranks, as byte tensors.
#ifndef MUSTER_TRAINER_SRC_TEXT_EXCHANGE_H_
#define MUSTER_TRAINER_SRC_TEXT_EXCHANGE_H_

#include <string>
#include <vector>

#include "muster/collectives/communicator.h"

namespace muster::internal {

/// Collective. Every rank's text, by rank. Blocks.
std::vector<std::string> gather_texts(Communicator& communicator, const std::string& text);

/// Collective. Rank 0's text; the argument is ignored elsewhere. Blocks.
std::string broadcast_text(Communicator& communicator, const std::string& text);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_TEXT_EXCHANGE_H_
