# Finds Arrow's C++ libraries with its S3 filesystem.
#
# Looks in ARROW_ROOT (variable or environment), in CMAKE_PREFIX_PATH, and last in MUSTER_CACHED_ARROW.
# Target: Arrow::s3. Variable: ArrowS3_FOUND.
find_path(Arrow_INCLUDE_DIR arrow/filesystem/s3fs.h
  HINTS ${ARROW_ROOT} $ENV{ARROW_ROOT} PATHS ${MUSTER_CACHED_ARROW} PATH_SUFFIXES include)
get_filename_component(Arrow_ROOT_DIR "${Arrow_INCLUDE_DIR}" DIRECTORY)
# The libraries must belong to the headers, so only beside them.
foreach(library IN ITEMS arrow arrow_s3)
  find_library(Arrow_${library}_LIBRARY ${library} PATHS ${Arrow_ROOT_DIR} PATH_SUFFIXES lib lib64 NO_DEFAULT_PATH)
endforeach()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(ArrowS3
  REQUIRED_VARS Arrow_INCLUDE_DIR Arrow_arrow_LIBRARY Arrow_arrow_s3_LIBRARY
  REASON_FAILURE_MESSAGE "run scripts/setup, or set ARROW_ROOT to an unpacked Arrow")
mark_as_advanced(Arrow_INCLUDE_DIR Arrow_arrow_LIBRARY Arrow_arrow_s3_LIBRARY)

if(ArrowS3_FOUND AND NOT TARGET Arrow::s3)
  add_library(Arrow::s3 INTERFACE IMPORTED)
  target_include_directories(Arrow::s3 SYSTEM INTERFACE ${Arrow_INCLUDE_DIR})
  target_link_libraries(Arrow::s3 INTERFACE ${Arrow_arrow_s3_LIBRARY} ${Arrow_arrow_LIBRARY})
endif()
