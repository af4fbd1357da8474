# What holds for every source file of the project: language, warnings, floating point, ccache.

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)
set(CMAKE_EXPORT_COMPILE_COMMANDS ON)
# Installed programs find LibTorch and MPI where they were found for the build.
set(CMAKE_INSTALL_RPATH_USE_LINK_PATH ON)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "expected g++ 12 or newer; found ${CMAKE_CXX_COMPILER} ${CMAKE_CXX_COMPILER_VERSION}; "
    "install g++-12 and configure with -DCMAKE_C_COMPILER=gcc-12 -DCMAKE_CXX_COMPILER=g++-12")
endif()

# Contraction would let the compiler round the same expression differently from one loop to the next,
# and so give other bits for another cut of the same work.
add_compile_options(
  "$<$<COMPILE_LANGUAGE:CXX>:-Wall;-Wextra;-Wshadow;-ffp-contract=off>"
  "$<$<COMPILE_LANGUAGE:CUDA>:--fmad=false;-Xcompiler=-Wall,-Wextra,-ffp-contract=off>")
# Programs load only the libraries that they call.
add_link_options(-Wl,--as-needed)

# Sources named *_kernels.cc hold the numeric loops. They are compiled alike in every preset, so that a
# debug build computes the same bits at the same speed.
set(MUSTER_KERNEL_OPTIONS -O3 -ffp-contract=off -fno-math-errno -fno-trapping-math)

find_program(CCACHE_PROGRAM ccache)
mark_as_advanced(CCACHE_PROGRAM)
if(CCACHE_PROGRAM AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  if(MUSTER_PCH)
    # Without these two ccache declines every compilation that uses a precompiled header.
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CMAKE_COMMAND} -E env
      CCACHE_SLOPPINESS=pch_defines,time_macros,include_file_mtime,include_file_ctime ${CCACHE_PROGRAM})
    add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:-fpch-preprocess>")
  else()
    set(CMAKE_CXX_COMPILER_LAUNCHER ${CCACHE_PROGRAM})
  endif()
endif()
