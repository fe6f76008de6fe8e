// Lock-free hand-over of loops to workers that spin, then sleep on a futex.
//
// A caller claims a job slot, fills it in, opens it and sets its bit in `open_`, which is the one
// word that idle workers watch. Workers join by a compare-and-swap on the job's state, which counts
// the places left and the helpers inside; the caller closes the job and waits until no helper is
// inside. A helper inside keeps the job's fields stable, so nothing else needs protection.
#include "runtime/thread_pool.h"

#include "runtime/cpu_count.h"

#include <algorithm>
#include <array>
#include <bit>
#include <chrono>
#include <climits>
#include <csignal>
#include <exception>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace tintype {

namespace {

// State of a job: helpers inside, places left for more, and whether the caller sleeps.
constexpr uint32_t kHelpers = 0xffffu;
constexpr uint32_t kOnePlace = 0x10000u;
constexpr uint32_t kPlaces = 0x7fff0000u;
constexpr uint32_t kCallerSleeps = 0x80000000u;

constexpr uint64_t kOneSleeper = uint64_t{1} << 32;
constexpr uint64_t kSpinners = kOneSleeper - 1;

// Waking a sleeper costs about as much as this spin lasts, so spinning longer cannot pay.
constexpr std::chrono::microseconds kSpinTime{50};
constexpr int kPausesPerClockRead = 32;

constexpr int kMaxShares = 64;  // more threads than that share shares

uint64_t pack_range(int begin, int end) {
  return static_cast<uint64_t>(end) << 32 | static_cast<uint64_t>(begin);
}
int begin_of(uint64_t range) { return static_cast<int>(range & 0xffffffffu); }
int end_of(uint64_t range) { return static_cast<int>(range >> 32); }

thread_local bool inside_task = false;
thread_local int thread_limit = 0;

void pause_cpu() {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

// Spins until done() holds or the spin time is over; says whether it holds.
template <typename Done>
bool spin_until(const Done& done) {
  for (int i = 0; i < kPausesPerClockRead; ++i) {
    if (done()) return true;
    pause_cpu();
  }
  const auto end = std::chrono::steady_clock::now() + kSpinTime;
  do {
    for (int i = 0; i < kPausesPerClockRead; ++i) {
      if (done()) return true;
      pause_cpu();
    }
  } while (std::chrono::steady_clock::now() < end);
  return done();
}

void futex_wait(std::atomic<uint32_t>& word, uint32_t expected) {
  syscall(SYS_futex, &word, FUTEX_WAIT_PRIVATE, expected, nullptr, nullptr, 0);
}

void futex_wake(std::atomic<uint32_t>& word, int count) {
  syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, count, nullptr, nullptr, 0);
}

int run_here(ThreadPool::Task task, void* user, int min, int size, uint8_t* closure) {
  for (int i = 0; i < size; ++i)
    if (const int error = task(user, min + i, closure); error != 0) return error;
  return 0;
}

}  // namespace

/// The tasks of one participant that nobody has claimed yet: end << 32 | begin.
struct alignas(64) ThreadPool::Share {
  std::atomic<uint64_t> tasks;
};

struct alignas(64) ThreadPool::Job {
  std::atomic<uint32_t> state{0};
  int min = 0, share_count = 1;
  Task task = nullptr;
  void* user = nullptr;
  uint8_t* closure = nullptr;
  uint64_t bit = 0;
  Share* shares = nullptr;  ///< on the caller's stack
  alignas(64) std::atomic<int> error{0};
};

ThreadPool& ThreadPool::shared() {
  // Leaked on purpose: kernels may still run in other threads while static objects are destroyed.
  static ThreadPool* pool = new ThreadPool(default_thread_count());
  return *pool;
}

ThreadPool::ThreadPool(int threads)
    : default_threads_(std::clamp(threads, 1, kMaxThreads)), jobs_(kJobs) {
  for (int i = 0; i < kJobs; ++i) jobs_[static_cast<size_t>(i)].bit = uint64_t{1} << i;
}

ThreadPool::~ThreadPool() {
  stop_.store(true);
  wake_.fetch_add(1);
  futex_wake(wake_, INT_MAX);
  for (std::thread& worker : workers_) worker.join();
}

int ThreadPool::run(Task task, void* user, int min, int size, uint8_t* closure, int max_threads) {
  if (size <= 0) return 0;
  int threads = max_threads > 0 ? max_threads : thread_limit > 0 ? thread_limit : default_threads_;
  threads = std::min({threads, size, kMaxThreads});
  if (threads <= 1 || inside_task) return run_here(task, user, min, size, closure);
  if (worker_count_.load(std::memory_order_relaxed) < threads - 1) start_workers(threads - 1);
  Job* job = claim_job();
  if (job == nullptr) return run_here(task, user, min, size, closure);
  job->task = task;
  job->user = user;
  job->min = min;
  std::array<Share, kMaxShares> shares;
  job->shares = shares.data();
  job->share_count = std::min(threads, kMaxShares);
  for (int64_t i = 0; i < job->share_count; ++i)
    shares[static_cast<size_t>(i)].tasks.store(
        pack_range(static_cast<int>(i * size / job->share_count),
                   static_cast<int>((i + 1) * size / job->share_count)),
        std::memory_order_relaxed);
  job->closure = closure;
  job->error.store(0, std::memory_order_relaxed);
  publish(*job, threads - 1);
  work(*job, 0);
  close(*job);
  const int error = job->error.load(std::memory_order_relaxed);
  release_job(job);
  return error;
}

ThreadPool::Job* ThreadPool::claim_job() {
  uint64_t taken = taken_.load(std::memory_order_relaxed);
  while (~taken != 0) {
    const uint64_t bit = ~taken & (taken + 1);  // lowest clear bit
    if (taken_.compare_exchange_weak(taken, taken | bit, std::memory_order_acquire))
      return &jobs_[static_cast<size_t>(std::countr_zero(bit))];
  }
  return nullptr;
}

void ThreadPool::release_job(Job* job) { taken_.fetch_and(~job->bit, std::memory_order_release); }

void ThreadPool::publish(Job& job, int helpers) {
  job.state.store(static_cast<uint32_t>(helpers) * kOnePlace, std::memory_order_release);
  // Sequentially consistent against sleep_for_work: either the worker sees the bit, or this thread
  // sees the sleeper.
  open_.fetch_or(job.bit, std::memory_order_seq_cst);
  const uint64_t idle = idle_.load(std::memory_order_seq_cst);
  const auto sleeping = static_cast<int>(idle >> 32), spinning = static_cast<int>(idle & kSpinners);
  if (sleeping == 0 || spinning >= helpers) return;
  wake_.fetch_add(1, std::memory_order_seq_cst);
  futex_wake(wake_, std::min(helpers - spinning, sleeping));
}

// Every participant has a share of the tasks, always the same piece of the loop for the same
// thread: what a thread wrote in one loop it mostly finds in its own caches in the next, which
// matters where cores do not share a cache, and a kernel can fetch what the next task of its thread
// will need. Who has finished takes half of what another has left.
ThreadPool::TaskRange ThreadPool::claim_tasks(Job& job, int own) {
  Share& share = job.shares[own];
  uint64_t seen = share.tasks.load(std::memory_order_relaxed);
  while (begin_of(seen) < end_of(seen)) {
    const int i = begin_of(seen);
    if (share.tasks.compare_exchange_weak(seen, pack_range(i + 1, end_of(seen)),
                                          std::memory_order_relaxed))
      return {i, i + 1};
  }
  for (int k = 1; k < job.share_count; ++k) {
    Share& other = job.shares[(own + k) % job.share_count];
    seen = other.tasks.load(std::memory_order_relaxed);
    while (begin_of(seen) < end_of(seen)) {
      const int begin = begin_of(seen), end = end_of(seen), middle = begin + (end - begin) / 2;
      if (other.tasks.compare_exchange_weak(seen, pack_range(begin, middle),
                                            std::memory_order_relaxed))
        return {middle, end};
    }
  }
  return {};
}

void ThreadPool::work(Job& job, int own) {
  inside_task = true;
  for (TaskRange range = claim_tasks(job, own); range.begin < range.end;) {
    const int error = job.task(job.user, job.min + range.begin, job.closure);
    if (error != 0) {
      int none = 0;
      job.error.compare_exchange_strong(none, error, std::memory_order_relaxed);
    }
    if (job.error.load(std::memory_order_relaxed) != 0) break;
    if (++range.begin == range.end) range = claim_tasks(job, own);
  }
  inside_task = false;
  if ((open_.load(std::memory_order_relaxed) & job.bit) != 0)
    open_.fetch_and(~job.bit, std::memory_order_relaxed);
}

void ThreadPool::close(Job& job) {
  uint32_t state = job.state.fetch_and(kHelpers, std::memory_order_acquire) & kHelpers;
  if (state == 0) return;
  if (spin_until([&] { return job.state.load(std::memory_order_acquire) == 0; })) return;
  // A helper has lost its CPU in the middle of a task: leave this one to it.
  state = job.state.load(std::memory_order_acquire);
  while (state != 0) {
    const uint32_t sleeping = state | kCallerSleeps;
    if (!job.state.compare_exchange_weak(state, sleeping, std::memory_order_acquire)) continue;
    futex_wait(job.state, sleeping);
    state = job.state.fetch_and(~kCallerSleeps, std::memory_order_acquire) & ~kCallerSleeps;
  }
}

bool ThreadPool::help_somebody(uint64_t open, int worker) {
  // Different workers look at different jobs first, so that concurrent callers share them.
  for (uint64_t rest = std::rotr(open, worker % kJobs); rest != 0; rest &= rest - 1) {
    Job& job = jobs_[static_cast<size_t>((std::countr_zero(rest) + worker) % kJobs)];
    uint32_t state = job.state.load(std::memory_order_relaxed);
    while ((state & kPlaces) != 0) {
      if (!job.state.compare_exchange_weak(state, state - kOnePlace + 1, std::memory_order_acquire,
                                           std::memory_order_relaxed))
        continue;
      if ((state & kPlaces) == kOnePlace) open_.fetch_and(~job.bit, std::memory_order_relaxed);
      idle_.fetch_sub(1, std::memory_order_relaxed);
      work(job, job.share_count == 1 ? 0 : 1 + worker % (job.share_count - 1));
      idle_.fetch_add(1, std::memory_order_relaxed);
      const uint32_t before = job.state.fetch_sub(1, std::memory_order_acq_rel);
      if (before == (kCallerSleeps | 1)) futex_wake(job.state, 1);
      return true;
    }
  }
  return false;
}

void ThreadPool::start_workers(int count) {
  const std::lock_guard lock(start_mutex_);
  // Signals are for the threads of the program that uses this library.
  sigset_t all, previous;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &previous);
  bool possible = true;  // else the loop runs with the threads that exist
  while (possible && static_cast<int>(workers_.size()) < count) {
    const auto worker = static_cast<int>(workers_.size());
    try {
      workers_.emplace_back([this, worker] { worker_main(worker); });
    } catch (const std::exception&) {
      possible = false;
    }
  }
  pthread_sigmask(SIG_SETMASK, &previous, nullptr);
  worker_count_.store(std::max(count, worker_count_.load()), std::memory_order_relaxed);
}

void ThreadPool::worker_main(int worker) {
  pthread_setname_np(pthread_self(), "tintype");
  idle_.fetch_add(1, std::memory_order_relaxed);
  while (!stop_.load(std::memory_order_relaxed)) {
    if (const uint64_t open = open_.load(std::memory_order_acquire); open != 0) {
      if (!help_somebody(open, worker)) pause_cpu();
    } else if (!spin_for_work()) {
      sleep_for_work();
    }
  }
}

bool ThreadPool::spin_for_work() {
  return spin_until([this] { return open_.load(std::memory_order_relaxed) != 0; });
}

void ThreadPool::sleep_for_work() {
  const uint32_t seen = wake_.load(std::memory_order_seq_cst);
  idle_.fetch_add(kOneSleeper - 1, std::memory_order_seq_cst);
  if (open_.load(std::memory_order_seq_cst) == 0 && !stop_.load(std::memory_order_seq_cst))
    futex_wait(wake_, seen);
  idle_.fetch_sub(kOneSleeper - 1, std::memory_order_seq_cst);
}

ThreadLimit::ThreadLimit(int threads) : previous_(thread_limit) {
  if (threads > 0) thread_limit = threads;
}

ThreadLimit::~ThreadLimit() { thread_limit = previous_; }

}  // namespace tintype
