# Finds LibTorch's headers and CPU libraries without asking for CUDA, as LibTorch's own package file would.
#
# Looks in LIBTORCH_ROOT or LibTorch_ROOT (variable or environment), in the tree that Torch_DIR belongs to,
# in CMAKE_PREFIX_PATH, and last in MUSTER_CACHED_LIBTORCH.
# Targets: LibTorch::LibTorch (libtorch_cpu and libc10); where present LibTorch::torch_cuda, LibTorch::c10_cuda.
# Variables: LibTorch_FOUND, LibTorch_VERSION, LibTorch_ROOT_DIR.

set(libtorch_hints ${LIBTORCH_ROOT} $ENV{LIBTORCH_ROOT} ${LibTorch_ROOT} $ENV{LibTorch_ROOT})
foreach(directory IN ITEMS ${Torch_DIR} $ENV{Torch_DIR} ${Torch_ROOT} $ENV{Torch_ROOT})
  # Torch_DIR is <root>/share/cmake/Torch.
  list(APPEND libtorch_hints ${directory} ${directory}/../../..)
endforeach()

find_path(LibTorch_INCLUDE_DIR torch/csrc/api/include/torch/torch.h
  HINTS ${libtorch_hints} PATHS ${MUSTER_CACHED_LIBTORCH} PATH_SUFFIXES include)
get_filename_component(LibTorch_ROOT_DIR "${LibTorch_INCLUDE_DIR}" DIRECTORY)

# The libraries must belong to the headers, so only beside them.
foreach(library IN ITEMS torch_cpu c10 torch_cuda c10_cuda)
  find_library(LibTorch_${library}_LIBRARY ${library}
    PATHS ${LibTorch_ROOT_DIR} PATH_SUFFIXES lib NO_DEFAULT_PATH)
  mark_as_advanced(LibTorch_${library}_LIBRARY)
endforeach()

set(LibTorch_VERSION)
# The header moved in LibTorch 2.9.
foreach(header IN ITEMS torch/headeronly/version.h torch/csrc/api/include/torch/version.h)
  if(NOT LibTorch_VERSION AND EXISTS ${LibTorch_INCLUDE_DIR}/${header})
    file(STRINGS ${LibTorch_INCLUDE_DIR}/${header} version_lines REGEX "define TORCH_VERSION_(MAJOR|MINOR|PATCH) +[0-9]+")
    list(TRANSFORM version_lines REPLACE "[^0-9]+" "")
    list(JOIN version_lines "." LibTorch_VERSION)
  endif()
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(LibTorch
  REQUIRED_VARS LibTorch_INCLUDE_DIR LibTorch_torch_cpu_LIBRARY LibTorch_c10_LIBRARY
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE "run scripts/setup, or set LIBTORCH_ROOT to an unpacked LibTorch")
mark_as_advanced(LibTorch_INCLUDE_DIR)

if(LibTorch_FOUND AND NOT TARGET LibTorch::LibTorch)
  # add_libtorch_library(NAME LINKED...)
  function(add_libtorch_library name)
    add_library(LibTorch::${name} SHARED IMPORTED)
    set_target_properties(LibTorch::${name} PROPERTIES
      IMPORTED_LOCATION ${LibTorch_${name}_LIBRARY}
      IMPORTED_NO_SONAME OFF
      INTERFACE_LINK_LIBRARIES "${ARGN}")
  endfunction()

  add_library(LibTorch::headers INTERFACE IMPORTED)
  target_include_directories(LibTorch::headers INTERFACE
    ${LibTorch_INCLUDE_DIR} ${LibTorch_INCLUDE_DIR}/torch/csrc/api/include)

  add_libtorch_library(c10 LibTorch::headers)
  add_libtorch_library(torch_cpu LibTorch::c10)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED)
  target_link_libraries(LibTorch::LibTorch INTERFACE LibTorch::torch_cpu LibTorch::c10)

  if(LibTorch_torch_cuda_LIBRARY AND LibTorch_c10_cuda_LIBRARY)
    add_libtorch_library(c10_cuda LibTorch::c10)
    add_libtorch_library(torch_cuda LibTorch::c10_cuda LibTorch::torch_cpu)
  endif()
endif()
