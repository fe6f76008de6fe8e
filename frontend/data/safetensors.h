// The safetensors format (https://github.com/huggingface/safetensors#format): weights to and from
// other tools.
#pragma once

#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstddef>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

namespace tintype {

struct SafetensorsFile {
  std::map<std::string, Tensor> tensors;
  std::map<std::string, std::string> metadata;  ///< the "__metadata__" entry
};

/// Maps the file; the tensors read from the mapping, which lives as long as they do. Strict: the
/// header has at most 100 MB, names each tensor once, and its tensors fill the rest of the file
/// without gaps or overlaps; dtypes are BOOL, U8 to U64, I8 to I64, F16, BF16, F32 and F64.
/// Messages begin with the path.
Result<SafetensorsFile> load_safetensors(const std::string& path);
/// Written whole or not at all.
Status save_safetensors(const SafetensorsFile& content, const std::string& path);

/// The same for bytes in memory: `bytes` start with the header's length and end with the data.
/// `owner` keeps them alive. Tensors that are not aligned to their element type are copied.
Result<SafetensorsFile> parse_safetensors(std::span<const std::byte> bytes,
                                          const std::shared_ptr<const void>& owner);
/// What comes before the data of a file (length and header, a multiple of 64 bytes), and the
/// tensors in the order in which their bytes follow: by decreasing element size, then by name.
struct SafetensorsLayout {
  std::string head;
  std::vector<const Tensor*> order;
};
Result<SafetensorsLayout> safetensors_layout(const SafetensorsFile& content);

}  // namespace tintype
