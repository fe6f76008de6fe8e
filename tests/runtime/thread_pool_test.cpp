// The pool of threads: every index once, bounds on threads, nesting, errors, concurrent callers.
#include "runtime/thread_pool.h"

#include "runtime/cpu_count.h"

#include <chrono>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <numeric>
#include <set>
#include <sys/wait.h>
#include <unistd.h>

namespace tintype::testing {
namespace {

struct Counts {
  std::vector<std::atomic<int>> calls;
  std::atomic<int> inside{0}, most{0};
  std::mutex mutex;
  std::set<std::thread::id> threads;
  explicit Counts(size_t n) : calls(n) {}
};

int count_task(void* user, int index, uint8_t*) {
  auto& c = *static_cast<Counts*>(user);
  const int now = ++c.inside;
  for (int most = c.most; now > most && !c.most.compare_exchange_weak(most, now);) {
  }
  ++c.calls[static_cast<size_t>(index)];
  {
    const std::lock_guard lock(c.mutex);
    c.threads.insert(std::this_thread::get_id());
  }
  --c.inside;
  return 0;
}

TEST(ThreadPool, RunsEveryIndexOnce) {
  ThreadPool pool(4);
  for (int size : {0, 1, 2, 3, 17, 1000}) {
    Counts c(1010);
    EXPECT_EQ(pool.run(count_task, &c, 5, size, nullptr), 0);
    for (int i = 0; i < 1010; ++i)
      EXPECT_EQ(c.calls[static_cast<size_t>(i)], i >= 5 && i < 5 + size ? 1 : 0) << i;
  }
}

// More threads than a loop has shares to hand out: some claim from the same one, all steal.
TEST(ThreadPool, ManyThreadsShareShares) {
  ThreadPool pool(100);
  for (const int size : {1, 2, 99, 100, 5000}) {
    std::vector<std::atomic<int>> counts(static_cast<size_t>(size));
    const auto count = [](void* user, int index, uint8_t*) {
      ++(*static_cast<std::vector<std::atomic<int>>*>(user))[static_cast<size_t>(index)];
      std::this_thread::yield();
      return 0;
    };
    for (int round = 1; round <= 20; ++round) {
      ASSERT_EQ(pool.run(count, &counts, 0, size, nullptr), 0);
      for (const std::atomic<int>& c : counts) ASSERT_EQ(c, round);
    }
  }
}

TEST(ThreadPool, UsesAtMostTheThreadsAskedFor) {
  ThreadPool pool(8);
  Counts warm(64);
  pool.run(count_task, &warm, 0, 64, nullptr);  // all eight exist from here on
  for (int limit : {1, 2, 3, 8}) {
    Counts c(3000);
    pool.run(count_task, &c, 0, 3000, nullptr, limit);
    EXPECT_LE(static_cast<int>(c.threads.size()), limit);
    EXPECT_LE(c.most, limit);
  }
  Counts c(300);
  {
    const ThreadLimit limit(1);
    pool.run(count_task, &c, 0, 300, nullptr);
  }
  EXPECT_EQ(c.threads.size(), 1u);
}

TEST(ThreadPool, WorkersTakePartAndWakeUpAgain) {
  ThreadPool pool(2);
  for (int round = 0; round < 3; ++round) {
    std::atomic<int> arrived{0};
    // Each of two tasks waits for the other, which works only on two threads.
    const auto meet = [](void* user, int, uint8_t*) {
      auto& n = *static_cast<std::atomic<int>*>(user);
      ++n;
      while (n < 2) std::this_thread::yield();
      return 0;
    };
    pool.run(meet, &arrived, 0, 2, nullptr);
    EXPECT_EQ(arrived, 2);
    std::this_thread::sleep_for(std::chrono::milliseconds(5));  // long enough to fall asleep
  }
}

TEST(ThreadPool, ReturnsAnErrorAndSkipsTheRest) {
  ThreadPool pool(3);
  const auto fail = [](void* user, int index, uint8_t*) {
    ++*static_cast<std::atomic<int>*>(user);
    return index >= 10 ? -index : 0;
  };
  std::atomic<int> calls{0};
  EXPECT_LE(pool.run(fail, &calls, 0, 100000, nullptr), -10);
  EXPECT_LT(calls, 1000);
  EXPECT_EQ(pool.run(fail, &calls, 0, 10, nullptr), 0);
  EXPECT_EQ(pool.run(fail, &calls, 0, 11, nullptr, 1), -10);
}

struct Nest {
  ThreadPool pool{4};
  std::atomic<int> leaves{0};
};

int inner_task(void* user, int, uint8_t*) {
  ++static_cast<Nest*>(user)->leaves;
  return 0;
}

int outer_task(void* user, int, uint8_t*) {
  auto& nest = *static_cast<Nest*>(user);
  return nest.pool.run(inner_task, user, 0, 16, nullptr);
}

TEST(ThreadPool, NestedLoopsFinish) {
  Nest nest;
  for (int i = 0; i < 50; ++i) EXPECT_EQ(nest.pool.run(outer_task, &nest, 0, 8, nullptr), 0);
  EXPECT_EQ(nest.leaves, 50 * 8 * 16);
}

TEST(ThreadPool, ManyCallersAtOnce) {
  ThreadPool pool(4);
  std::vector<std::thread> callers;
  callers.reserve(12);
  std::atomic<int> wrong{0};
  for (int t = 0; t < 12; ++t)
    callers.emplace_back([&, t] {
      for (int i = 0; i < 300; ++i) {
        std::atomic<int> sum{0};
        const auto add = [](void* user, int index, uint8_t*) {
          *static_cast<std::atomic<int>*>(user) += index;
          return 0;
        };
        const int size = 1 + (t + i) % 20;
        pool.run(add, &sum, 0, size, nullptr, 1 + i % 5);
        if (sum != size * (size - 1) / 2) ++wrong;
      }
    });
  for (std::thread& c : callers) c.join();
  EXPECT_EQ(wrong, 0);
}

TEST(ThreadPool, StartsMoreThreadsWhenAskedFor) {
  ThreadPool pool(1);
  std::atomic<int> arrived{0};
  const auto meet = [](void* user, int, uint8_t*) {
    auto& n = *static_cast<std::atomic<int>*>(user);
    ++n;
    while (n < 3) std::this_thread::yield();
    return 0;
  };
  pool.run(meet, &arrived, 0, 3, nullptr, 3);
  EXPECT_EQ(arrived, 3);
}

TEST(ThreadPool, PiecesDependOnSizeAlone) {
  const auto pieces = [](int threads) {
    const ThreadLimit limit(threads);
    std::mutex mutex;
    std::set<std::pair<int64_t, int64_t>> all;
    parallel_for(1003, 10, [&](int64_t begin, int64_t end) {
      const std::lock_guard lock(mutex);
      all.insert({begin, end});
    });
    return all;
  };
  const auto serial = pieces(1);
  EXPECT_EQ(serial.size(), 64u);
  int64_t next = 0;
  for (const auto& [begin, end] : serial) {
    EXPECT_EQ(begin, next);
    next = end;
  }
  EXPECT_EQ(next, 1003);
  EXPECT_EQ(pieces(4), serial);
}

#if !defined(__SANITIZE_THREAD__)  // which does not support threads after a fork
TEST(ThreadPool, AForkedChildStillRunsLoops) {
  ThreadPool& pool = ThreadPool::shared();
  Counts c(100);
  pool.run(count_task, &c, 0, 100, nullptr, 4);
  const pid_t child = fork();
  if (child == 0) {
    std::atomic<int> sum{0};
    const auto add = [](void* user, int index, uint8_t*) {
      *static_cast<std::atomic<int>*>(user) += index;
      return 0;
    };
    pool.run(add, &sum, 0, 100, nullptr, 4);
    _exit(sum == 4950 ? 0 : 1);
  }
  int status = -1;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(status, 0);
}
#endif

TEST(CpuCount, ReadsThreadVariables) {
  EXPECT_EQ(parse_thread_count("4"), 4);
  EXPECT_EQ(parse_thread_count("4,2"), 4);
  EXPECT_EQ(parse_thread_count(" 3 "), 3);
  for (const char* bad : {"", "0", "-1", "x", "4x", "257", "99999999999999999999"})
    EXPECT_FALSE(parse_thread_count(bad)) << bad;
  EXPECT_FALSE(parse_thread_count(nullptr));
}

class CgroupTest : public ::testing::Test {
 protected:
  void SetUp() override {
    root_ = std::filesystem::path(::testing::TempDir()) / ("cgroup" + std::to_string(getpid()));
    std::filesystem::remove_all(root_);
  }
  void TearDown() override { std::filesystem::remove_all(root_); }
  void write(const std::string& path, const std::string& text) {
    std::filesystem::create_directories((root_ / path).parent_path());
    std::ofstream(root_ / path) << text;
  }
  std::optional<int> limit(const std::string& self) {
    return cgroup_cpu_limit(self, root_.string());
  }
  std::filesystem::path root_;
};

TEST_F(CgroupTest, VersionTwo) {
  write("a/b/cpu.max", "150000 100000\n");
  write("a/cpu.max", "max 100000\n");
  EXPECT_EQ(limit("0::/a/b\n"), 2);
  EXPECT_EQ(limit("0::/a\n"), std::nullopt);
  write("a/cpu.max", "100000 100000\n");
  EXPECT_EQ(limit("0::/a/b\n"), 1);  // the enclosing group is tighter
}

TEST_F(CgroupTest, VersionTwoInsideAContainer) {
  write("cpu.max", "300000 100000\n");
  EXPECT_EQ(limit("0::/\n"), 3);
  EXPECT_EQ(limit("0::/path/of/the/host\n"), 3);
}

TEST_F(CgroupTest, VersionOne) {
  write("cpu/job/cpu.cfs_quota_us", "350000\n");
  write("cpu/job/cpu.cfs_period_us", "100000\n");
  EXPECT_EQ(limit("4:cpu,cpuacct:/job\n3:memory:/other\n"), 4);
  EXPECT_EQ(limit("5:cpuset:/job\n"), std::nullopt);
  write("cpu/job/cpu.cfs_quota_us", "-1\n");
  EXPECT_EQ(limit("4:cpu,cpuacct:/job\n"), std::nullopt);
}

TEST_F(CgroupTest, NothingToRead) {
  EXPECT_EQ(limit(""), std::nullopt);
  EXPECT_EQ(limit("garbage\n0::/x\n"), std::nullopt);
}

}  // namespace
}  // namespace tintype::testing
