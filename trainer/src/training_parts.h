// What a run takes from the user's Trainer.
#ifndef MUSTER_TRAINER_SRC_TRAINING_PARTS_H_
#define MUSTER_TRAINER_SRC_TRAINING_PARTS_H_

#include <memory>

#include "muster/collectives/reduction_tree.h"
#include "muster/data_loader/data_loader.h"
#include "muster/trainer/engine_options.h"
#include "muster/trainer/trainer.h"

namespace muster::internal {

/// In training mode, on the trainer's device. This and make_loader() throw UserError for what the
/// user's code threw or forgot.
std::shared_ptr<torch::nn::Module> build_model(Trainer& trainer);
/// Of the training data, for those logical ranks.
std::unique_ptr<DataLoader> make_loader(Trainer& trainer, const LogicalRange& run);

/// The same batch there.
Batch on_device(Batch batch, at::Device device);

/// `trainer` must outlive them.
EngineOptions engine_options_of(const Trainer& trainer);

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_TRAINING_PARTS_H_
