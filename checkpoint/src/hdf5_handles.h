// Owning handles for HDF5 identifiers, and HDF5 failures as CheckpointError.
#ifndef MUSTER_CHECKPOINT_SRC_HDF5_HANDLES_H_
#define MUSTER_CHECKPOINT_SRC_HDF5_HANDLES_H_

#include <hdf5.h>

#include <utility>

namespace muster::checkpoint::internal {

/// Throws CheckpointError naming `call` and libhdf5's own reason when `result` is negative.
void check_hdf5(herr_t result, const char* call);

class Hdf5Handle {
 public:
  using Closer = herr_t (*)(hid_t);

  /// Takes what `call` returned; throws CheckpointError when that is a failure.
  Hdf5Handle(hid_t id, Closer closer, const char* call);
  ~Hdf5Handle();
  Hdf5Handle(Hdf5Handle&& other) noexcept
      : id_(std::exchange(other.id_, -1)), closer_(other.closer_) {}
  Hdf5Handle(const Hdf5Handle&) = delete;
  Hdf5Handle& operator=(const Hdf5Handle&) = delete;

  hid_t get() const { return id_; }
  /// Closes now and reports what closing reports.
  void close(const char* call) { check_hdf5(closer_(std::exchange(id_, -1)), call); }

 private:
  hid_t id_;
  Closer closer_;
};

/// Keeps libhdf5 from printing its error stack on this thread; our errors carry it.
class Hdf5ErrorsQuiet {
 public:
  Hdf5ErrorsQuiet();
  ~Hdf5ErrorsQuiet();
  Hdf5ErrorsQuiet(const Hdf5ErrorsQuiet&) = delete;
  Hdf5ErrorsQuiet& operator=(const Hdf5ErrorsQuiet&) = delete;

 private:
  H5E_auto2_t printer_ = nullptr;
  void* printer_data_ = nullptr;
};

}  // namespace muster::checkpoint::internal

#endif  // MUSTER_CHECKPOINT_SRC_HDF5_HANDLES_H_
