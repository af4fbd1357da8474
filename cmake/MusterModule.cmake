# A module is a folder with include/muster/<name>/*.h (public), src/ (private) and one library.

# Compiles torch/torch.h once for all targets that are flagged TORCH.
if(MUSTER_PCH)
  file(WRITE ${PROJECT_BINARY_DIR}/torch_pch.cc "// Carries the shared precompiled header.\n")
  add_library(muster_torch_pch OBJECT ${PROJECT_BINARY_DIR}/torch_pch.cc)
  target_link_libraries(muster_torch_pch PRIVATE LibTorch::LibTorch)
  target_precompile_headers(muster_torch_pch PRIVATE <torch/torch.h>)
endif()

# muster_use_torch_pch(TARGET): includes the precompiled header, when there is one. It was compiled as libraries
# are, and programs must be compiled alike to use it.
function(muster_use_torch_pch target)
  if(NOT MUSTER_PCH)
    return()
  endif()
  target_precompile_headers(${target} REUSE_FROM muster_torch_pch)
  get_target_property(type ${target} TYPE)
  if(type STREQUAL "EXECUTABLE")
    set_target_properties(${target} PROPERTIES POSITION_INDEPENDENT_CODE OFF)
    target_compile_options(${target} PRIVATE -fPIC)
  endif()
endfunction()

# muster_use_unity(TARGET SIZE): compiles so many of its sources at once, where that was asked for. Names in
# unnamed namespaces meet there, so they must differ within a target.
function(muster_use_unity target size)
  if(MUSTER_UNITY)
    set_target_properties(${target} PROPERTIES UNITY_BUILD ON UNITY_BUILD_BATCH_SIZE ${size})
  endif()
endfunction()

# muster_use_torch(TARGET): for targets whose sources mostly include torch/torch.h.
function(muster_use_torch target)
  target_link_libraries(${target} PRIVATE LibTorch::LibTorch)
  muster_use_torch_pch(${target})
  muster_use_unity(${target} 8)
endfunction()

# muster_kernel_sources(SOURCE...): gives *_kernels.cc files their own options in every preset.
function(muster_kernel_sources)
  set(kernels ${ARGN})
  list(FILTER kernels INCLUDE REGEX "_kernels\\.cc$")
  if(kernels)
    set_source_files_properties(${kernels} PROPERTIES
      COMPILE_OPTIONS "${MUSTER_KERNEL_OPTIONS}"
      SKIP_UNITY_BUILD_INCLUSION ON
      SKIP_PRECOMPILE_HEADERS ON)
  endif()
endfunction()

# muster_add_module(NAME [TORCH] DEPENDS muster::... PUBLIC_LIBS ... PRIVATE_LIBS ...)
#
# Makes the library muster::NAME from src/**/*.cc (without src/main.cc, which is a program's, and src/cuda/) and
# the header set include/muster/NAME/*.h. A module sees the public headers of the modules in DEPENDS, directly or
# through them, and no others. PUBLIC_LIBS are those whose headers the public headers include.
function(muster_add_module name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "TORCH" "" "DEPENDS;PUBLIC_LIBS;PRIVATE_LIBS")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "muster_add_module(${name}): unknown arguments ${arg_UNPARSED_ARGUMENTS}")
  endif()
  set(here ${CMAKE_CURRENT_SOURCE_DIR})
  file(GLOB_RECURSE headers CONFIGURE_DEPENDS ${here}/include/muster/${name}/*.h)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${here}/src/*.cc)
  list(FILTER sources EXCLUDE REGEX "/src/(main\\.cc|cuda/.*)$")

  set(target muster_${name})
  add_library(${target} STATIC ${sources})
  add_library(muster::${name} ALIAS ${target})
  target_include_directories(${target} PRIVATE ${here}/src)
  muster_kernel_sources(${sources})
  if(arg_TORCH)
    muster_use_torch(${target})
  else()
    muster_use_unity(${target} 16)
  endif()
  target_sources(${target} PUBLIC FILE_SET HEADERS BASE_DIRS ${here}/include FILES ${headers})
  target_compile_features(${target} PUBLIC cxx_std_20)
  target_link_libraries(${target}
    PUBLIC ${arg_DEPENDS} ${arg_PUBLIC_LIBS}
    PRIVATE ${arg_PRIVATE_LIBS})
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name} VERIFY_INTERFACE_HEADER_SETS ON)
  set_property(GLOBAL APPEND PROPERTY MUSTER_MODULES ${name})
endfunction()

# muster_add_cuda_part(NAME [LIBS ...]): the library muster::NAME_cuda from src/cuda/*.{cc,cu} of module NAME,
# when CUDA was found. Programs that link it load CUDA; those that link muster::NAME alone do not.
function(muster_add_cuda_part name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "LIBS")
  file(GLOB sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/src/cuda/*.cc ${CMAKE_CURRENT_SOURCE_DIR}/src/cuda/*.cu)
  if(NOT MUSTER_HAS_CUDA OR NOT sources)
    return()
  endif()
  set(target muster_${name}_cuda)
  add_library(${target} STATIC ${sources})
  add_library(muster::${name}_cuda ALIAS ${target})
  target_include_directories(${target} PRIVATE ${CMAKE_CURRENT_SOURCE_DIR}/src)
  target_link_libraries(${target} PUBLIC muster::${name}
    PRIVATE LibTorch::c10_cuda CUDA::cudart ${arg_LIBS})
  target_compile_definitions(${target} INTERFACE MUSTER_HAS_CUDA)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name}_cuda)
  set_property(GLOBAL APPEND PROPERTY MUSTER_MODULES ${name}_cuda)
endfunction()
