// Fixtures of tests/train: JSON files that make_fixtures.py writes.
#pragma once

#include "runtime/tensor.h"

#include <fstream>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

namespace tintype::test {

inline nlohmann::json fixture(const std::string& name) {
  std::ifstream file(std::string(TINTYPE_TEST_DIR) + "/" + name + ".json");
  return nlohmann::json::parse(file);
}

inline Tensor floats(const nlohmann::json& values, std::vector<int64_t> dims) {
  return Tensor::from<float>(std::move(dims), values.get<std::vector<float>>());
}

}  // namespace tintype::test
