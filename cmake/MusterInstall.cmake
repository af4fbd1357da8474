# `cmake --install`: libraries, headers, programs, and the package that find_package(muster) reads.

get_property(modules GLOBAL PROPERTY MUSTER_MODULES)
list(TRANSFORM modules PREPEND muster_ OUTPUT_VARIABLE module_targets)

add_library(muster INTERFACE)
add_library(muster::muster ALIAS muster)
target_link_libraries(muster INTERFACE muster::trainer)

set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/muster)
install(TARGETS muster ${module_targets} EXPORT muster_targets
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR}
  FILE_SET HEADERS DESTINATION ${CMAKE_INSTALL_INCLUDEDIR})
install(EXPORT muster_targets NAMESPACE muster:: FILE muster-targets.cmake DESTINATION ${package_dir})

include(CMakePackageConfigHelpers)
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/muster-config.cmake.in
  ${PROJECT_BINARY_DIR}/muster-config.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/muster-config-version.cmake COMPATIBILITY SameMinorVersion)
install(FILES
  ${PROJECT_BINARY_DIR}/muster-config.cmake
  ${PROJECT_BINARY_DIR}/muster-config-version.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindxxHash.cmake
  ${PROJECT_SOURCE_DIR}/cmake/FindNCCL.cmake
  DESTINATION ${package_dir})
