// Whether somebody asked this process to finish its step, save and leave.
#ifndef MUSTER_TRAINER_SRC_STOP_REQUEST_H_
#define MUSTER_TRAINER_SRC_STOP_REQUEST_H_

#include "muster/base/control_messages.h"

namespace muster::internal {

enum class StopReason { kNone = 0, kInterrupt = 1, kPreempt = 2 };

/// From now on SIGINT and SIGTERM are requests, not ends; a second SIGINT ends the process as
/// usual.
void install_stop_signals();

/// From signals or, where `control` is not null, from the launcher. Never blocks. Once set it
/// stays.
class StopRequest {
 public:
  explicit StopRequest(ControlChannel* control) : control_(control) {}
  StopReason poll();

 private:
  ControlChannel* control_;
  StopReason reason_ = StopReason::kNone;
};

}  // namespace muster::internal

#endif  // MUSTER_TRAINER_SRC_STOP_REQUEST_H_
