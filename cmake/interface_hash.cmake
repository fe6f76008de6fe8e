# cmake -P: writes the header that tells plugins and the program whether they were built with the
# same headers. Variables: SOURCE_DIR, VERSION, OUTPUT, HEADERS (separated by '|').
string(REPLACE "|" ";" headers "${HEADERS}")
set(all "")
foreach(header IN LISTS headers)
  file(SHA256 "${SOURCE_DIR}/${header}" hash)
  string(APPEND all "${header} ${hash}\n")
endforeach()
string(SHA256 interface "${all}")
string(SUBSTRING "${interface}" 0 12 interface)
set(content "// Which Tintype a plugin was built for.
#pragma once
#define TINTYPE_PLUGIN_VERSION \"${VERSION}\"
#define TINTYPE_PLUGIN_INTERFACE \"${interface}\"
")
set(old "")
if(EXISTS "${OUTPUT}")
  file(READ "${OUTPUT}" old)
endif()
if(NOT "${old}" STREQUAL "${content}")
  file(WRITE "${OUTPUT}" "${content}")
endif()
