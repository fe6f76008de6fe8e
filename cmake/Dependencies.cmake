# Finds everything that Tintype links against: first what the caller put into CMAKE_PREFIX_PATH,
# then what `make setup` left in the dependency folder (TINTYPE_DEPS, else ~/.cache/tintype-deps).

file(STRINGS "${CMAKE_CURRENT_LIST_DIR}/dependencies.env" pins REGEX "^[A-Z_]+=\"")
foreach(pin IN LISTS pins)
  string(REGEX MATCH "^([A-Z_]+)=\"(.*)\"$" matched "${pin}")
  set(TINTYPE_PIN_${CMAKE_MATCH_1} "${CMAKE_MATCH_2}")
endforeach()
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             "${CMAKE_CURRENT_LIST_DIR}/dependencies.env")

if(DEFINED ENV{TINTYPE_DEPS})
  set(deps_default "$ENV{TINTYPE_DEPS}")
elseif(DEFINED ENV{XDG_CACHE_HOME})
  set(deps_default "$ENV{XDG_CACHE_HOME}/tintype-deps")
else()
  set(deps_default "$ENV{HOME}/.cache/tintype-deps")
endif()
set(TINTYPE_DEPS "${deps_default}" CACHE PATH "folder that `make setup` fills")

file(GLOB halide_wheels "${TINTYPE_DEPS}/venv/lib/python3*/site-packages/halide")
list(APPEND CMAKE_PREFIX_PATH ${halide_wheels} "${TINTYPE_DEPS}/onnx-${TINTYPE_PIN_ONNX_VERSION}")

find_package(Threads REQUIRED)
find_package(Halide ${TINTYPE_PIN_HALIDE_VERSION} MODULE REQUIRED)

# LLVM comes as the shared library (it links in a second) and lld as static libraries on top of it.
find_package(ZLIB REQUIRED)
find_package(zstd MODULE REQUIRED)
string(REPLACE " " ";" llvm_versions "${TINTYPE_PIN_LLVM_VERSIONS}")
foreach(version IN LISTS llvm_versions)
  find_package(LLVM ${version} CONFIG QUIET PATHS "/usr/lib/llvm-${version}")
  find_package(LLD CONFIG QUIET PATHS "/usr/lib/llvm-${version}")
  if(LLVM_FOUND AND LLD_FOUND)
    break()
  endif()
  unset(LLVM_DIR CACHE)
  unset(LLD_DIR CACHE)
endforeach()
if(NOT LLVM_FOUND OR NOT LLD_FOUND)
  message(FATAL_ERROR "no LLVM with lld found, of version ${TINTYPE_PIN_LLVM_VERSIONS}; run "
                      "`make setup`, or set LLVM_DIR and LLD_DIR")
endif()
message(STATUS "LLVM ${LLVM_PACKAGE_VERSION} (${LLVM_DIR})")
add_library(tintype_llvm INTERFACE)
target_include_directories(tintype_llvm SYSTEM INTERFACE ${LLVM_INCLUDE_DIRS})
target_link_libraries(tintype_llvm INTERFACE lldELF lldCommon LLVM)

find_package(Protobuf REQUIRED)
find_package(ONNX ${TINTYPE_PIN_ONNX_VERSION} CONFIG QUIET)
if(NOT ONNX_FOUND)
  message(FATAL_ERROR "ONNX ${TINTYPE_PIN_ONNX_VERSION} (C++ library) not found; run `make setup`, "
                      "or put its install prefix into CMAKE_PREFIX_PATH")
endif()

find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(tomlplusplus REQUIRED)
find_package(fmt REQUIRED)
find_program(FLATC flatc REQUIRED)
find_package(Python3 COMPONENTS Interpreter REQUIRED)
