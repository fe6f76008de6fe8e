# stb_image reads pictures of anybody. The version that Debian 12 has writes and reads beyond its
# tables when a picture asks for that; this makes a copy of it with what later versions, or nobody
# yet, check. A text that is not found has been changed since: then it stays as it is.
find_path(STB_INCLUDE_DIR stb/stb_image.h REQUIRED)
file(READ "${STB_INCLUDE_DIR}/stb/stb_image.h" stb_image)
set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS
             "${STB_INCLUDE_DIR}/stb/stb_image.h")

function(patch_stb before after)
  string(REPLACE "${before}" "${after}" patched "${stb_image}")
  set(stb_image "${patched}" PARENT_SCOPE)
endfunction()

# JPEG: lengths of Huffman codes for more symbols than there are (as stb_image 2.29 has it).
patch_stb([[
      for (j=0; j < count[i]; ++j)
         h->size[k++] = (stbi_uc) (i+1);
]] [[
      for (j=0; j < count[i]; ++j) {
         h->size[k++] = (stbi_uc) (i+1);
         if (k >= 257) return stbi__err("bad size list","Corrupt JPEG");
      }
]])

file(CONFIGURE OUTPUT "${PROJECT_BINARY_DIR}/generated_stb/stb/stb_image.h"
     CONTENT "@stb_image@" @ONLY)
