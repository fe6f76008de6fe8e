// What compiled kernels call back: loops, scratch, errors, and the table of hooks.
#include "runtime/halide_hooks.h"

#include "runtime/halide_errors.h"
#include "runtime/kernel.h"
#include "runtime/scratch.h"

#include <cstring>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <set>
#include <thread>
#include <utility>

namespace tintype::testing {
namespace {

using ::testing::HasSubstr;

TEST(HalideHooks, ErrorsAreRecordedAndReturned) {
  KernelContext context;
  EXPECT_EQ(halide_error_access_out_of_bounds(&context, "f", 1, -1, 9, 0, 7),
            halide_error_code_access_out_of_bounds);
  EXPECT_EQ(context.error, "f is accessed at [-1, 9] in dimension 1, valid is [0, 7]");
  EXPECT_EQ(halide_error_out_of_memory(&context), halide_error_code_out_of_memory);
  EXPECT_THAT(context.error, HasSubstr("f is accessed"));  // the first one stays
  EXPECT_EQ(halide_error_host_is_null(nullptr, "f"), halide_error_code_host_is_null);
  context.error.clear();
  halide_error(&context, "plain message");
  EXPECT_EQ(context.error, "plain message");
  context.error.clear();
  EXPECT_EQ(halide_error_bad_type(&context, "x", 0x12002, 0x10801), halide_error_code_bad_type);
  EXPECT_EQ(context.error, "x has type float32x1, expected uint8x1");
}

TEST(HalideHooks, ErrorsFromSeveralThreads) {
  KernelContext context;
  const int error = halide_do_par_for(
      &context,
      [](void* uc, int i, uint8_t*) {
        return halide_error_host_is_null(uc, i % 2 != 0 ? "a" : "b");
      },
      0, 64, nullptr);
  EXPECT_EQ(error, halide_error_code_host_is_null);
  EXPECT_THAT(context.error, HasSubstr("is null"));
}

TEST(HalideHooks, LoopsHonourTheContext) {
  KernelContext context;
  context.max_threads = 1;
  std::set<std::thread::id> threads;
  halide_do_par_for(
      &context,
      [](void*, int, uint8_t* closure) {
        reinterpret_cast<std::set<std::thread::id>*>(closure)->insert(std::this_thread::get_id());
        return 0;
      },
      0, 100, reinterpret_cast<uint8_t*>(&threads));
  EXPECT_EQ(threads.size(), 1u);
}

TEST(HalideHooks, TheTableIsCompleteAndUnique) {
  std::set<std::string> names;
  for (const HookSymbol& s : halide_hook_symbols()) {
    EXPECT_TRUE(names.insert(s.name).second) << s.name;
    EXPECT_NE(s.address, nullptr);
  }
  // Both change together: the table of a library that was compiled before has no place for more.
  EXPECT_EQ(std::pair(names.size(), kHookVersion), std::pair(size_t{58}, 3));
  EXPECT_EQ(std::string(halide_hook_symbols()[0].name), "halide_do_par_for");
}

TEST(HalideHooks, TrampolinesDefineEveryHook) {
  for (const char* architecture : {"x86_64", "aarch64"}) {
    const std::string text = hook_trampolines(architecture);
    for (const HookSymbol& s : halide_hook_symbols())
      EXPECT_THAT(text, HasSubstr("\n" + std::string(s.name) + ":\n"));
  }
  EXPECT_EQ(hook_trampolines("vax"), "");
}

TEST(HalideHooks, NumbersAreWrittenWithinBounds) {
  char text[16];
  char* end = text + sizeof text;
  char* at = halide_string_to_string(text, end, "n=");
  at = halide_int64_to_string(at, end, -42, 1);
  at = halide_string_to_string(at, end, " ");
  at = halide_double_to_string(at, end, 0.5, 0);
  EXPECT_EQ(std::string(text), "n=-42 0.500000");
  at = halide_uint64_to_string(at, end, 12345, 1);
  EXPECT_EQ(std::string(text), "n=-42 0.5000001");
  EXPECT_EQ(at, end - 1);
  EXPECT_EQ(halide_string_to_string(end, end, "x"), end);
}

TEST(Scratch, IsAlignedAndReused) {
  void* first = halide_malloc(nullptr, 1000);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(first) % 128, 0u);
  std::memset(first, 1, 1000);
  halide_free(nullptr, first);
  void* again = halide_malloc(nullptr, 1100);  // a little more than before: the same block
  EXPECT_EQ(again, first);
  void* other = halide_malloc(nullptr, 1000);
  EXPECT_NE(other, again);
  halide_free(nullptr, again);
  halide_free(nullptr, other);
  EXPECT_EQ(halide_malloc(nullptr, 1000), other);  // the last freed is the warmest
  halide_free(nullptr, other);
  halide_free(nullptr, nullptr);
}

TEST(Scratch, SmallRequestsDoNotTakeBigBlocks) {
  void* big = scratch_allocate(size_t{8} << 20);
  scratch_free(big);
  void* small = scratch_allocate(100);
  EXPECT_NE(small, big);
  scratch_free(small);
}

TEST(Scratch, WhatAThreadKeepsIsBounded) {
  std::thread([] {
    std::vector<void*> blocks;
    blocks.reserve(40);
    for (int i = 0; i < 40; ++i) blocks.push_back(scratch_allocate(size_t{16} << 20));
    for (void* b : blocks) scratch_free(b);
    EXPECT_LE(scratch_cached_bytes(), kScratchBytes);
    EXPECT_GT(scratch_cached_bytes(), 0u);
  }).join();
}

TEST(Scratch, ImpossibleSizesGiveNull) { EXPECT_EQ(halide_malloc(nullptr, SIZE_MAX), nullptr); }

TEST(Scratch, BlocksMayBeFreedByAnotherThread) {
  void* block = scratch_allocate(5000);
  std::thread([=] { scratch_free(block); }).join();
}

}  // namespace
}  // namespace tintype::testing
