// libFuzzer's entry to the readers of tests/damage: TINTYPE_READER names one. run.sh does the rest.
#include "tests/damage/readers.h"

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <unistd.h>

namespace {

using namespace tintype::test;

Reader chosen_reader() {
  const char* name = std::getenv("TINTYPE_READER");
  for (Reader& r : all_readers())
    if (name != nullptr && r.name == name) return r;
  std::fprintf(stderr, "TINTYPE_READER: expected one of");
  for (const Reader& r : all_readers()) std::fprintf(stderr, " %s", r.name.c_str());
  std::fprintf(stderr, "\n");
  std::exit(2);
}

void write(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

}  // namespace

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer asks for this name
extern "C" int LLVMFuzzerInitialize(int*, char***) {
  const Reader reader = chosen_reader();
  // Whole files to begin with, on request.
  if (const char* folder = std::getenv("TINTYPE_SEEDS")) {
    std::filesystem::create_directories(folder);
    size_t i = 0;
    for (const std::string& bytes : reader.whole())
      write(std::string(folder) + "/whole-" + std::to_string(i++), bytes);
  }
  return 0;
}

// NOLINTNEXTLINE(readability-identifier-naming): libFuzzer asks for this name
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const Reader reader = chosen_reader();
  static const std::string folder = "/dev/shm/tintype-fuzz-" + std::to_string(getpid());
  static const bool made = std::filesystem::create_directories(folder);
  static const std::string path = folder + "/damaged" + reader.ending;
  if (!made) std::abort();
  std::string bytes(reinterpret_cast<const char*>(data), size);
  if (reader.repair != nullptr) reader.repair(bytes);
  write(path, bytes);
  const Outcome outcome = read_with(reader, path);
  if (outcome.typed()) return 0;
  std::fprintf(stderr, "no typed error: %s\n", outcome.message.c_str());
  std::abort();
}
