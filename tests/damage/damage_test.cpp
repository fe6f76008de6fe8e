// Damaged files of every kind: each read ends in a result or in a message about the file, without
// crash, defect or allocations that the file cannot justify. Some hundreds or thousands per kind
// here, as many as TINTYPE_DAMAGE says elsewhere; TINTYPE_DAMAGE_SEED picks others.
#include "tests/damage/damage.h"
#include "tests/damage/memory_limit.h"
#include "tests/damage/readers.h"
#include "tests/data/folder.h"

#include <gtest/gtest.h>

#include <cstdlib>

// NOLINTNEXTLINE(bugprone-reserved-identifier): the sanitizer asks for this name
extern "C" const char* __asan_default_options() { return "max_allocation_size_mb=256"; }

namespace tintype::test {
namespace {

constexpr size_t kMostMemory = size_t{256} << 20;

uint64_t from_environment(const char* name, uint64_t otherwise) {
  const char* text = std::getenv(name);
  return text == nullptr ? otherwise : std::strtoull(text, nullptr, 10);
}

class Damaged : public testing::TestWithParam<Reader> {};

TEST_P(Damaged, WholeFilesAreRead) {
  const Folder folder;
  for (std::string bytes : GetParam().whole()) {
    const std::string path = folder.write("whole" + GetParam().ending, bytes);
    EXPECT_EQ(read_with(GetParam(), path).message, "");
    if (GetParam().repair == nullptr) continue;
    GetParam().repair(bytes);
    EXPECT_EQ(read_with(GetParam(), folder.write("same" + GetParam().ending, bytes)).message, "");
  }
}

TEST_P(Damaged, EndsInAResultOrAMessage) {
  const Reader& reader = GetParam();
  const uint64_t seed = from_environment("TINTYPE_DAMAGE_SEED", 1);
  const uint64_t count = from_environment("TINTYPE_DAMAGE", reader.count);
  const Folder folder;
  // Threads, tables and the like are made once, and do not count.
  (void)read_with(reader, folder.write("whole" + reader.ending, reader.whole().front()));
  Damage damage(reader.whole(), seed);
  uint64_t refused = 0;
  for (uint64_t i = 0; i < count; ++i) {
    std::string bytes = damage.next();
    if (reader.repair != nullptr) reader.repair(bytes);
    const std::string path = folder.write("damaged" + reader.ending, bytes);
    const MemoryLimit limit(kMostMemory);
    const Outcome outcome = read_with(reader, path);
    refused += outcome.ok() ? 0 : 1;
    ASSERT_TRUE(outcome.typed()) << "file " << i << " of seed " << seed << ": " << outcome.message;
  }
  EXPECT_GT(refused, count / 4) << "most damage should show";
}

INSTANTIATE_TEST_SUITE_P(Files, Damaged, testing::ValuesIn(all_readers()),
                         [](const auto& test) { return test.param.name; });

}  // namespace
}  // namespace tintype::test
