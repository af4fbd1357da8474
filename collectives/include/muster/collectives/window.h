// Memory of each rank that the others read without its help.
#ifndef MUSTER_COLLECTIVES_WINDOW_H_
#define MUSTER_COLLECTIVES_WINDOW_H_

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "muster/collectives/work.h"

namespace muster {

/// One tensor a rank, all of one dtype and numel. Reads need no matching call: whoever needs
/// something takes it, when it needs it. Made by Communicator::open_window(), which must outlive
/// it; lives on its own as the parts that split() makes do.
///
/// The destructor ends this rank's side: reads that others make from then on throw PeerLost, and
/// waiting for own reads that are still under way throws UserError. So ranks destroy it behind a
/// barrier.
class Window {
 public:
  virtual ~Window() = default;

  /// This rank's: 1-D, zeroed in the beginning. Writing it while another rank reads gives that one
  /// any mixture of old and new; a barrier before and one after keep them apart.
  virtual const at::Tensor& own() const = 0;

  /// Elements [begin, begin + to.numel()) of rank `from`'s tensor are copied into `to`, which is
  /// contiguous and of the window's dtype. Returns at once; the data are valid after Work::wait(),
  /// which throws PeerLost when `from` died or closed the window and Timeout when the
  /// communicator's deadline passed. Until then `to` belongs to the read. Any number may be under
  /// way. From one thread at a time, the Work's calls too. Throws ConfigError for what misfits.
  virtual Work read(int from, std::int64_t begin, at::Tensor to) = 0;
};

}  // namespace muster

#endif  // MUSTER_COLLECTIVES_WINDOW_H_
