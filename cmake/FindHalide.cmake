# Finds the Halide of the PyPI wheel (or any install prefix) and defines
#   Halide::Halide   the compiler: Halide.h and libHalide
#   Halide::Runtime  HalideRuntime.h and its siblings alone: who links it cannot see Halide.h
# Halide's own CMake package does the same but asks for a newer CMake than Debian 12 has.

find_path(Halide_INCLUDE_DIR Halide.h)
find_library(Halide_LIBRARY Halide PATH_SUFFIXES lib64 lib)

if(Halide_INCLUDE_DIR)
  file(STRINGS "${Halide_INCLUDE_DIR}/HalideRuntime.h" version_lines
       REGEX "^#define HALIDE_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
  list(TRANSFORM version_lines REPLACE "^.* ([0-9]+)$" "\\1")
  list(JOIN version_lines "." Halide_VERSION)
endif()

include(FindPackageHandleStandardArgs)
find_package_handle_standard_args(
  Halide REQUIRED_VARS Halide_LIBRARY Halide_INCLUDE_DIR VERSION_VAR Halide_VERSION
  REASON_FAILURE_MESSAGE "run `make setup`, or put Halide's prefix into CMAKE_PREFIX_PATH")

if(Halide_FOUND AND NOT TARGET Halide::Halide)
  add_library(Halide::Halide SHARED IMPORTED)
  set_target_properties(Halide::Halide PROPERTIES
    IMPORTED_LOCATION "${Halide_LIBRARY}"
    INTERFACE_INCLUDE_DIRECTORIES "${Halide_INCLUDE_DIR}")

  set(runtime_headers "${CMAKE_BINARY_DIR}/halide_runtime_headers")
  file(GLOB headers "${Halide_INCLUDE_DIR}/HalideRuntime*.h")
  file(COPY ${headers} DESTINATION "${runtime_headers}")
  add_library(Halide::Runtime INTERFACE IMPORTED)
  set_target_properties(Halide::Runtime PROPERTIES
    INTERFACE_INCLUDE_DIRECTORIES "${runtime_headers}")
endif()
