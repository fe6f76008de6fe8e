# `cmake --install`: the program, libtintype with its headers, the runtime alone as a static library,
# and a CMake package: find_package(Tintype) gives
#   Tintype::Tintype   everything: libtintype.so
#   Tintype::Runtime   what a program needs that runs compiled models
#   Tintype::Halide    Halide.h, for plugins that define ops (codegen/definitions.h)
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/Tintype")
set(header_dir "${CMAKE_INSTALL_INCLUDEDIR}/tintype")

# Libraries that are not the system's (Halide from its wheel) are found where they were at build.
set_target_properties(libtintype PROPERTIES INSTALL_RPATH "$ORIGIN"
                      INSTALL_RPATH_USE_LINK_PATH TRUE)
set_target_properties(tintype PROPERTIES INSTALL_RPATH "$ORIGIN/../${CMAKE_INSTALL_LIBDIR}"
                      INSTALL_RPATH_USE_LINK_PATH TRUE)
install(TARGETS tintype libtintype EXPORT TintypeTargets
        RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}"
        LIBRARY DESTINATION "${CMAKE_INSTALL_LIBDIR}")
# The static library is described by the package itself: it depends on nothing but threads.
install(FILES "$<TARGET_FILE:tintype_runtime>" DESTINATION "${CMAKE_INSTALL_LIBDIR}")

foreach(folder runtime runtime/cuda ir passes frontend/graph frontend/zoo frontend/train frontend/data frontend/plot
               tools/driver)
  file(GLOB headers CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.h")
  install(FILES ${headers} DESTINATION "${header_dir}/${folder}")
endforeach()
install(FILES frontend/onnx/import.h frontend/onnx/export.h DESTINATION "${header_dir}/frontend/onnx")
install(FILES codegen/compile.h codegen/definitions.h codegen/kernel.h codegen/libraries.h codegen/lower.h
              codegen/machine.h codegen/object_library.h codegen/shared_object.h
        DESTINATION "${header_dir}/codegen")
install(FILES "${PROJECT_BINARY_DIR}/generated/passes/plugin_version.h"
        DESTINATION "${header_dir}/passes")

install(EXPORT TintypeTargets NAMESPACE Tintype:: DESTINATION "${package_dir}")
configure_package_config_file("${PROJECT_SOURCE_DIR}/cmake/TintypeConfig.cmake.in"
                              "${PROJECT_BINARY_DIR}/TintypeConfig.cmake"
                              INSTALL_DESTINATION "${package_dir}")
write_basic_package_version_file("${PROJECT_BINARY_DIR}/TintypeConfigVersion.cmake"
                                 COMPATIBILITY ExactVersion)
install(FILES "${PROJECT_BINARY_DIR}/TintypeConfig.cmake"
              "${PROJECT_BINARY_DIR}/TintypeConfigVersion.cmake"
        DESTINATION "${package_dir}")
