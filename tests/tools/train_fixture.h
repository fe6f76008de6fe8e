// Training from outside, and small data to train on.
#pragma once

#include "frontend/data/npy.h"

#include <algorithm>
#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <nlohmann/json.hpp>
#include <string>
#include <sys/wait.h>

namespace tintype {

namespace fs = std::filesystem;

struct Outcome {
  int code = -1;
  std::string text;  ///< standard output and error together
};

inline Outcome run_shell(const std::string& command) {
  Outcome o;
  FILE* pipe = popen(("{ " + command + "; } 2>&1").c_str(), "r");
  std::array<char, 4096> buffer{};
  while (const size_t n = fread(buffer.data(), 1, buffer.size(), pipe))
    o.text.append(buffer.data(), n);
  const int status = pclose(pipe);
  o.code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
  return o;
}

/// Runs `tintype ARGUMENTS`.
inline Outcome tintype(const std::string& arguments) {
  return run_shell(std::string(TINTYPE_PROGRAM) + " " + arguments);
}

inline Outcome train(const std::string& arguments) { return tintype("train " + arguments); }

/// The JSON after what may have been said on standard error.
inline nlohmann::json report_in(const Outcome& o) {
  return nlohmann::json::parse(o.text.substr(std::min(o.text.find('{'), o.text.size())));
}

/// A folder with images u8[60,1,12,12] of three classes, each with a bright third, and their
/// labels.
class TrainCommand : public testing::Test {
 protected:
  TrainCommand() {
    std::string pattern = (fs::temp_directory_path() / "tintype-train-test-XXXXXX").string();
    folder_ = mkdtemp(pattern.data());
    Tensor images = Tensor::empty(DType::u8, {60, 1, 12, 12});
    Tensor labels = Tensor::empty(DType::i32, {60});
    for (size_t i = 0; i < 60; ++i) {
      labels.mutable_values<int32_t>()[i] = static_cast<int32_t>(i % 3);
      for (size_t p = 0; p < 144; ++p)
        images.mutable_values<uint8_t>()[i * 144 + p] =
            static_cast<uint8_t>((p / 48 == i % 3 ? 200 : 20) + (i * p) % 17);
    }
    EXPECT_TRUE(save_npy(images, path("x.npy")).ok());
    EXPECT_TRUE(save_npy(labels, path("y.npy")).ok());
  }
  ~TrainCommand() override { fs::remove_all(folder_); }
  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  std::string data() const { return " --data " + path("x.npy") + " " + path("y.npy") + " "; }

  std::string folder_;
};

inline std::string bytes_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
}

inline const std::string kDigits = std::string(TINTYPE_SOURCE_DIR) + "/examples/data/digits";

}  // namespace tintype
