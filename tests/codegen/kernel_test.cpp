// Kernel keys, the kernel cache and the transforms that kernels rely on.
#include "codegen/kernel.h"
#include "codegen/kernel_cache.h"
#include "codegen/machine.h"
#include "codegen/object_library.h"
#include "codegen/prefetch_level.h"
#include "ir/builder.h"
#include "ir/diagnostic.h"
#include "runtime/cpu_features.h"

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <sys/stat.h>

namespace tintype {
namespace {

namespace fs = std::filesystem;

KernelSpec pad_kernel(const Shape& before, const Shape& after) {
  KernelSpec s;
  auto body = std::make_shared<Graph>("pad");
  Builder b(*body);
  Value* x = body->add_input("a0", {DType::f32, {Dim::symbol("p"), Dim::symbol("q")}});
  body->add_output("r0", b.pad(x, before, after));
  s.name = "pad";
  s.body = body;
  s.inputs = {{DType::f32, {false, false}, true}};
  s.outputs = {{DType::f32, {false, false}, true}};
  return s;
}

// Two kernels that differ only in which axis is padded once shared a cache entry.
TEST(KernelText, TellsPaddedAxesApart) {
  EXPECT_NE(pad_kernel({0, 0}, {1, 0}).text(), pad_kernel({0, 0}, {0, 1}).text());
  EXPECT_EQ(pad_kernel({0, 0}, {1, 0}).text(), pad_kernel({0, 0}, {1, 0}).text());
}

class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "tintype-cache-test-XXXXXX").string();
    path_ = mkdtemp(pattern.data());
  }
  ~Folder() { fs::remove_all(path_); }
  std::string path() const { return path_; }

 private:
  std::string path_;
};

std::string only_file(const std::string& folder) {
  std::string found;
  for (const auto& e : fs::directory_iterator(folder)) found = e.path().string();
  return found;
}

TEST(KernelCache, ReturnsWhatWasStoredUnderTheSameKeyOnly) {
  const Folder folder;
  KernelCache cache(folder.path());
  const std::vector<char> object = {1, 2, 3};
  ASSERT_TRUE(cache.store("key", object));
  EXPECT_EQ(cache.load("key"), object);
  EXPECT_FALSE(cache.load("other key").has_value());
}

TEST(KernelCache, IgnoresEveryDamagedEntry) {
  const Folder folder;
  KernelCache cache(folder.path());
  ASSERT_TRUE(cache.store("key", std::vector<char>(40, 'x')));
  const std::string path = only_file(folder.path());
  std::ifstream in(path, std::ios::binary);
  const std::string whole((std::istreambuf_iterator<char>(in)), std::istreambuf_iterator<char>());
  for (size_t i = 0; i < whole.size(); ++i) {
    std::string flipped = whole;
    flipped[i] = static_cast<char>(flipped[i] ^ 0x10);
    std::ofstream(path, std::ios::binary | std::ios::trunc) << flipped;
    EXPECT_FALSE(cache.load("key").has_value()) << "byte " << i << " flipped";
    std::ofstream(path, std::ios::binary | std::ios::trunc) << whole.substr(0, i);
    EXPECT_FALSE(cache.load("key").has_value()) << "cut at " << i;
  }
  std::ofstream(path, std::ios::binary | std::ios::trunc) << whole;
  EXPECT_TRUE(cache.load("key").has_value());
}

TEST(KernelCache, DoesNotTrustAFolderThatOthersCanWrite) {
  const Folder folder;
  chmod(folder.path().c_str(), 0777);
  KernelCache cache(folder.path());
  EXPECT_NE(cache.problem().find("writable by other users"), std::string::npos) << cache.problem();
  EXPECT_FALSE(cache.store("key", {1}));
  EXPECT_FALSE(cache.load("key").has_value());
}

TEST(KernelCache, GoesOnWithoutAFolderItCannotMake) {
  KernelCache cache("/proc/no-such-folder/tintype");
  EXPECT_FALSE(cache.problem().empty());
  EXPECT_FALSE(cache.store("key", {1}));
}

TEST(Objects, ADamagedObjectIsAnError) {
  EXPECT_THROW(link_objects({{"broken", std::vector<char>(64, 'x')}}), Error);
}

/// How often an object's code fetches ahead: a prefetch is 0f 18 with its kind in the register
/// field, 0 for the non-temporal ones, 2 for the second-level cache.
int count_prefetches(const std::vector<char>& object, int kind = 2) {
  int count = 0;
  for (size_t i = 0; i + 2 < object.size(); ++i)
    if (object[i] == 0x0f && object[i + 1] == 0x18 && (object[i + 2] >> 3 & 7) == kind) ++count;
  return count;
}

KernelSpec product_kernel(int prefetch) {
  const Dim p = Dim::symbol("p"), k = Dim::symbol("k"), panels = Dim::symbol("panels");
  auto body = std::make_shared<Graph>("dot");
  Builder b(*body);
  Value* x = body->add_input("a0", {DType::f32, {p, k}});
  Value* w = body->add_input("a1", {DType::f32, {panels, k, 16}});
  body->add_output("r0", b.make("dot", {x, w}, {{"block", int64_t{16}}, {"columns", int64_t{64}}}));
  KernelSpec s;
  s.name = "dot";
  s.body = body;
  s.inputs = {{DType::f32, {false, false}, true}, {DType::f32, {false, false, false}, true}};
  s.outputs = {{DType::f32, {false, false}, true}};
  s.schedule = ScheduleKind::contraction;
  s.rows = 4;
  s.vectors = 2;
  s.depth_multiple = 4;
  s.prefetch = prefetch;
  return s;
}

// The pass that adds prefetches looks for loops by name: a change of the schedule must not lose
// them.
TEST(Kernel, FetchesAheadIntoTheSecondLevel) {
  const Machine machine = machine_for("x86-64-linux-avx-avx2-f16c-fma-sse41");
  const auto compiled = [&](int lines) {
    return compile_kernel(product_kernel(lines), machine, "k");
  };
  // The result's lines: two vectors of 8 lanes, half a line each, in 4 rows.
  const int results = count_prefetches(compiled(0));
  EXPECT_EQ(results, 8);
  const int few = count_prefetches(compiled(2)) - results;
  const int many = count_prefetches(compiled(6)) - results;
  EXPECT_GE(few, 2);
  EXPECT_EQ(many, 3 * few);
  EXPECT_EQ(count_prefetches(compiled(6), 0), 0);
  EXPECT_NE(product_kernel(2).text(), product_kernel(6).text());
}

TEST(Kernel, OnlyInstructionsAreRedirected) {
  const Machine machine = machine_for("x86-64-linux-avx-avx2-f16c-fma-sse41");
  std::vector<char> object = compile_kernel(product_kernel(0), machine, "k");
  // In place of the first function's beginning (pushes of rbp and r15): a number that looks like a
  // prefetch, then one.
  const std::vector<char> prologue = {0x55, 0x41, 0x57};
  const std::vector<char> code = {'\xb8', 0x0f, 0x18, 0, 0, 0x0f, 0x18, 0};  // mov, prefetchnta
  const auto at = std::search(object.begin(), object.end(), prologue.begin(), prologue.end());
  ASSERT_NE(at, object.end());
  std::copy(code.begin(), code.end(), at);
  std::vector<char> want = object;
  want[static_cast<size_t>(at - object.begin()) + 7] = 0x10;
  fetch_into_second_level(object);
  EXPECT_EQ(object, want);
  std::vector<char> no_object = code;
  fetch_into_second_level(no_object);
  EXPECT_EQ(no_object, code);
}

// A hypervisor may withhold what the processor's model has.
TEST(Machine, HostRunsWhatItIsTakenFor) {
  const Status status = check_cpu(host_machine().target);
  EXPECT_TRUE(status.ok()) << status.message();
}

TEST(Machine, KnowsTargetsAndRefusesOthers) {
  EXPECT_EQ(machine_for("x86-64-linux-avx-avx2-f16c-fma-sse41").lanes, 8);
  EXPECT_EQ(machine_for("x86-64-linux-avx-avx2-avx512-avx512_skylake-f16c-fma-sse41").lanes, 16);
  EXPECT_THROW(machine_for("toaster"), Error);
}

}  // namespace
}  // namespace tintype
