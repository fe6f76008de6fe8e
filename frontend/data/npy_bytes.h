// npy and npz for files that have been read already.
#pragma once

#include "frontend/data/bytes.h"
#include "runtime/tensor.h"

#include <map>
#include <span>
#include <string>

namespace tintype {

bool is_npy(std::span<const std::byte> bytes);
bool is_zip(std::span<const std::byte> bytes);

/// Throw DataError naming `path`. Elements stay in `bytes` where they are aligned there.
Tensor parse_npy(const Bytes& bytes, const std::string& path);
std::map<std::string, Tensor> parse_npz(const Bytes& bytes, const std::string& path);

}  // namespace tintype
