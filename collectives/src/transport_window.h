// A window in the memory of a transport.
#ifndef MUSTER_COLLECTIVES_SRC_TRANSPORT_WINDOW_H_
#define MUSTER_COLLECTIVES_SRC_TRANSPORT_WINDOW_H_

#include <cstdint>

#include "muster/collectives/window.h"
#include "owner_process.h"
#include "transport.h"

namespace muster::internal {

class TransportWindow : public Window {
 public:
  TransportWindow(WindowMemory memory, std::int64_t numel, at::ScalarType dtype);
  ~TransportWindow() override;

  const at::Tensor& own() const override { return own_; }
  /// From mapped memory at once; else by the reader.
  Work read(int from, std::int64_t begin, at::Tensor to) override;

 private:
  void check(int from, std::int64_t begin, const at::Tensor& to) const;

  const OwnerProcess owner_;
  WindowMemory memory_;
  at::Tensor own_;
};

}  // namespace muster::internal

#endif  // MUSTER_COLLECTIVES_SRC_TRANSPORT_WINDOW_H_
