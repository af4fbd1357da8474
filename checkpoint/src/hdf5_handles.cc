// Closing and error text.
#include "hdf5_handles.h"

#include <string>

#include "muster/base/error.h"

namespace muster::checkpoint::internal {
namespace {

// The innermost entry of the error stack says why.
herr_t keep_description(unsigned, const H5E_error2_t* entry, void* text) {
  if (entry->desc != nullptr) *static_cast<std::string*>(text) = entry->desc;
  return 0;
}

}  // namespace

void check_hdf5(herr_t result, const char* call) {
  if (result >= 0) return;
  std::string reason = "no reason given";
  H5Ewalk2(H5E_DEFAULT, H5E_WALK_DOWNWARD, keep_description, &reason);
  throw CheckpointError(std::string("laying out a checkpoint file in memory: ") + call +
                        " failed: " + reason);
}

Hdf5Handle::Hdf5Handle(hid_t id, Closer closer, const char* call) : id_(id), closer_(closer) {
  check_hdf5(id < 0 ? -1 : 0, call);
}

Hdf5Handle::~Hdf5Handle() {
  if (id_ >= 0) closer_(id_);
}

Hdf5ErrorsQuiet::Hdf5ErrorsQuiet() {
  H5Eget_auto2(H5E_DEFAULT, &printer_, &printer_data_);
  H5Eset_auto2(H5E_DEFAULT, nullptr, nullptr);
}

Hdf5ErrorsQuiet::~Hdf5ErrorsQuiet() { H5Eset_auto2(H5E_DEFAULT, printer_, printer_data_); }

}  // namespace muster::checkpoint::internal
