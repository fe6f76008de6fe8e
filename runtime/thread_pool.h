// The pool of threads behind every parallel loop: shared by all models of the process.
#pragma once

#include <atomic>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

namespace tintype {

/// Runs parallel loops. The caller takes part in its own loop; workers help, spin for some
/// microseconds when there is nothing to do, then sleep. Any number of threads may run loops at
/// once. A loop inside a task of another loop runs on the thread that reaches it, so loops never
/// wait for each other. Thread-safe.
class ThreadPool {
 public:
  /// Does one index. Returns 0, or an error that ends the loop early.
  using Task = int (*)(void* user, int index, uint8_t* closure);
  static constexpr int kMaxThreads = 256;

  /// The pool of the process, sized by default_thread_count(). Never destroyed.
  static ThreadPool& shared();
  explicit ThreadPool(int threads);
  ~ThreadPool();
  ThreadPool(const ThreadPool&) = delete;
  ThreadPool& operator=(const ThreadPool&) = delete;

  /// Threads of a loop that asks for no particular number, the caller included.
  int threads() const { return default_threads_; }

  /// Runs task(user, i, closure) for i in [min, min + size) and returns when all have ended: 0, or
  /// the error of one of the tasks that failed. At most `max_threads` threads take part; 0 means
  /// the thread's ThreadLimit, else threads(). Asking for more than threads() starts more workers.
  int run(Task task, void* user, int min, int size, uint8_t* closure, int max_threads = 0);

 private:
  struct Job;
  struct Share;
  struct TaskRange {
    int begin = 0, end = 0;
  };
  friend class ThreadLimit;

  Job* claim_job();
  void release_job(Job* job);
  void publish(Job& job, int helpers);
  static TaskRange claim_tasks(Job& job, int own);
  void work(Job& job, int own);
  void close(Job& job);
  bool help_somebody(uint64_t open, int worker);
  void start_workers(int count);
  void worker_main(int worker);
  bool spin_for_work();
  void sleep_for_work();

  static constexpr int kJobs = 64;
  const int default_threads_;
  std::vector<Job> jobs_;

  // Each of these is written by other threads than its neighbours, hence a cache line of its own.
  alignas(64) std::atomic<uint64_t> open_{0};   ///< bit per job that a worker could join
  alignas(64) std::atomic<uint64_t> taken_{0};  ///< bit per job that belongs to a caller
  alignas(64) std::atomic<uint64_t> idle_{0};   ///< sleeping workers << 32 | spinning workers
  alignas(64) std::atomic<uint32_t> wake_{0};   ///< sleepers wait for this to change
  alignas(64) std::atomic<int> worker_count_{0};
  std::atomic<bool> stop_{false};
  std::mutex start_mutex_;
  std::vector<std::thread> workers_;
};

/// Sets the number of threads for loops that the current thread runs while this object lives.
class ThreadLimit {
 public:
  /// 0 leaves the pool's default in force.
  explicit ThreadLimit(int threads);
  ~ThreadLimit();
  ThreadLimit(const ThreadLimit&) = delete;
  ThreadLimit& operator=(const ThreadLimit&) = delete;

 private:
  int previous_;
};

/// Calls body(begin, end) on pieces of [0, count), in parallel when there is more than `grain` to
/// do. The pieces depend on count and grain alone, never on the number of threads.
template <typename Body>
void parallel_for(int64_t count, int64_t grain, const Body& body) {
  constexpr int64_t kMaxPieces = 64;
  if (count <= 0) return;
  if (grain < 1) grain = 1;
  const int64_t pieces =
      count / grain < 1 ? 1 : (count / grain > kMaxPieces ? kMaxPieces : count / grain);
  if (pieces == 1) {
    body(int64_t{0}, count);
    return;
  }
  struct Loop {
    const Body* body;
    int64_t count, pieces;
  } loop{&body, count, pieces};
  ThreadPool::shared().run(
      [](void*, int piece, uint8_t* closure) {
        const Loop& l = *reinterpret_cast<const Loop*>(closure);
        const int64_t base = l.count / l.pieces, rest = l.count % l.pieces;
        const int64_t begin = piece * base + (piece < rest ? piece : rest);
        (*l.body)(begin, begin + base + (piece < rest ? 1 : 0));
        return 0;
      },
      nullptr, 0, static_cast<int>(pieces), reinterpret_cast<uint8_t*>(&loop));
}

}  // namespace tintype
