// The defaults of what a subclass may say.
#include "muster/trainer/trainer.h"

namespace muster {

void Trainer::add_options(OptionSet&) {}

std::shared_ptr<const Dataset> Trainer::test_dataset() { return nullptr; }

std::shared_ptr<const Dataset> Trainer::validation_dataset() { return nullptr; }

void Trainer::evaluate_batch(const Batch& batch, MetricSums& sums) {
  const Loss loss = compute_loss(batch);
  const double weight = loss.weight_over(batch);
  sums.add("loss", weight == 0 ? 0 : loss.mean.item<double>() * weight, weight);
}

bool Trainer::decays(const std::string&, const at::Tensor& parameter) const {
  return parameter.dim() >= 2;
}

void Trainer::on_step_end(const StepReport&) {}
void Trainer::on_epoch_end(std::int64_t) {}
void Trainer::on_evaluation(const EvaluationReport&) {}
void Trainer::on_checkpoint(std::int64_t, const std::filesystem::path&) {}
void Trainer::on_finished() {}

std::string Trainer::save_state() const { return ""; }

void Trainer::load_state(const std::string&) {}

std::shared_ptr<void> Trainer::hold_parameters() {
  return engine_ == nullptr ? nullptr : engine_->hold_parameters();
}

}  // namespace muster
