# Install rules: libraries, headers, the CMake package and the pkg-config
# files. Everything is found relative to the files themselves, so a prefix may
# be moved after it was installed.
include(CMakePackageConfigHelpers)

set_target_properties(tinker PROPERTIES
  VERSION ${PROJECT_VERSION} SOVERSION ${PROJECT_VERSION_MAJOR})
install(TARGETS tinker tinker_static tinker_core tinker_base
  tinker_db tinker_yaml tinker_recovery tinker_local
  EXPORT tinker-targets
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR}
  LIBRARY DESTINATION ${CMAKE_INSTALL_LIBDIR}
  ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(TARGETS tinker-locald tinker-recoverd
  RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${PROJECT_SOURCE_DIR}/include/tinker
  DESTINATION ${CMAKE_INSTALL_INCLUDEDIR} FILES_MATCHING PATTERN "*.h")

set(_package ${CMAKE_INSTALL_LIBDIR}/cmake/tinker)
install(EXPORT tinker-targets NAMESPACE tinker:: DESTINATION ${_package})
configure_package_config_file(${PROJECT_SOURCE_DIR}/cmake/tinker-config.cmake.in
  ${PROJECT_BINARY_DIR}/tinker-config.cmake INSTALL_DESTINATION ${_package})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/tinker-config-version.cmake
  COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/tinker-config.cmake
  ${PROJECT_BINARY_DIR}/tinker-config-version.cmake DESTINATION ${_package})

file(RELATIVE_PATH _up ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig
  ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" TINKER_PC_UP "${_up}")
foreach(_pc tinker tinker-local tinker-recovery)
  configure_file(${PROJECT_SOURCE_DIR}/cmake/${_pc}.pc.in
    ${PROJECT_BINARY_DIR}/${_pc}.pc @ONLY)
endforeach()
install(FILES ${PROJECT_BINARY_DIR}/tinker.pc
  ${PROJECT_BINARY_DIR}/tinker-local.pc
  ${PROJECT_BINARY_DIR}/tinker-recovery.pc
  DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
