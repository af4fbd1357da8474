// Versions of what a training program of this build loads.
#ifndef MUSTER_DOCTOR_BUILD_FACTS_H_
#define MUSTER_DOCTOR_BUILD_FACTS_H_

#include "muster/base/json.h"

namespace muster::doctor {

/// LibTorch, MPI and HDF5: built with and loaded, and the files they were loaded from.
Json build_facts();

}  // namespace muster::doctor

#endif  // MUSTER_DOCTOR_BUILD_FACTS_H_
