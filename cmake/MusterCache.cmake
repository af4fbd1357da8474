# Where scripts/setup keeps the dependencies that it downloads: MUSTER_CACHED_LIBTORCH, MUSTER_CACHED_OPENMPI,
# MUSTER_CACHED_ARROW, MUSTER_CACHED_MOTO, MUSTER_CACHED_H5PY.

if(DEFINED ENV{MUSTER_CACHE})
  set(MUSTER_CACHE_DIR $ENV{MUSTER_CACHE})
else()
  set(MUSTER_CACHE_DIR $ENV{HOME}/.cache/muster)
endif()

# muster_pinned_version(VARIABLE NAME): reads MUSTER_<NAME>_VERSION from scripts/versions.
function(muster_pinned_version variable name)
  file(STRINGS ${CMAKE_CURRENT_FUNCTION_LIST_DIR}/../scripts/versions line REGEX "^MUSTER_${name}_VERSION=")
  string(REGEX REPLACE "^[^=]*=" "" version "${line}")
  set(${variable} ${version} PARENT_SCOPE)
endfunction()

muster_pinned_version(pinned LIBTORCH)
set(MUSTER_CACHED_LIBTORCH ${MUSTER_CACHE_DIR}/libtorch-${pinned})
muster_pinned_version(pinned OPENMPI)
set(MUSTER_CACHED_OPENMPI ${MUSTER_CACHE_DIR}/openmpi-${pinned})
muster_pinned_version(pinned ARROW)
set(MUSTER_CACHED_ARROW ${MUSTER_CACHE_DIR}/arrow-${pinned})
muster_pinned_version(pinned MOTO)
set(MUSTER_CACHED_MOTO ${MUSTER_CACHE_DIR}/moto-${pinned})
muster_pinned_version(pinned H5PY)
set(MUSTER_CACHED_H5PY ${MUSTER_CACHE_DIR}/h5py-${pinned})
unset(pinned)
