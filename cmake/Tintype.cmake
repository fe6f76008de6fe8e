# How Tintype's own targets are compiled: warnings, sanitizers, ccache, and one function that makes
# a library out of a folder.

set(TINTYPE_SANITIZE "" CACHE STRING "value of -fsanitize for all targets, e.g. address,undefined")
option(TINTYPE_FUZZ "build tintype_fuzz (clang only)" OFF)

add_library(tintype_options INTERFACE)
target_compile_features(tintype_options INTERFACE cxx_std_20)
target_include_directories(tintype_options INTERFACE "${PROJECT_SOURCE_DIR}")
# The compiler that fuzzes is not the one whose warnings are heeded.
target_compile_options(tintype_options INTERFACE -Wall -Wextra -Wpedantic -Wshadow
                       $<$<NOT:$<BOOL:${TINTYPE_FUZZ}>>:-Werror>)
if(TINTYPE_SANITIZE)
  target_compile_options(tintype_options INTERFACE -fsanitize=${TINTYPE_SANITIZE}
                         -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tintype_options INTERFACE -fsanitize=${TINTYPE_SANITIZE})
  # Sanitizer instrumentation makes GCC 12 see uses of uninitialised memory that are not there.
  target_compile_options(tintype_options INTERFACE
                         $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
endif()

find_program(CCACHE ccache)
if(CCACHE AND NOT CMAKE_CXX_COMPILER_LAUNCHER)
  # The sloppiness is what ccache asks for with precompiled headers; the base folder lets several
  # checkouts share results.
  set(CMAKE_CXX_COMPILER_LAUNCHER "${CMAKE_COMMAND}" -E env
      "CCACHE_SLOPPINESS=pch_defines,time_macros" "CCACHE_BASEDIR=${PROJECT_SOURCE_DIR}"
      "CCACHE_NOHASHDIR=1" "${CCACHE}")
  add_compile_options(-fpch-preprocess)
endif()

# tintype_library(NAME [EXCLUDE <regex>] [DEPENDS <public targets>] [PRIVATE <private targets>])
# builds all .cpp files at and below the current folder, less those matching EXCLUDE. A folder with
# no .cpp file gives an interface library, so that the tree always configures.
function(tintype_library name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "EXCLUDE" "DEPENDS;PRIVATE")
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/*.cpp")
  if(arg_EXCLUDE)
    list(FILTER sources EXCLUDE REGEX "${arg_EXCLUDE}")
  endif()
  if(sources)
    add_library(${name} STATIC ${sources})
    target_link_libraries(${name} PUBLIC tintype_options ${arg_DEPENDS} PRIVATE ${arg_PRIVATE})
  else()
    add_library(${name} INTERFACE)
    target_link_libraries(${name} INTERFACE tintype_options ${arg_DEPENDS} ${arg_PRIVATE})
  endif()
  set_target_properties(${name} PROPERTIES POSITION_INDEPENDENT_CODE ON)
endfunction()
