// Grouping the accesses of threads into requests of warps.
#include "tests/support/cuda/traffic.h"

#include <algorithm>
#include <cstdio>

namespace tintype::ptx {

namespace {

constexpr size_t kWarp = 32, kSector = 32, kWord = 4, kBanks = 32;

/// Distinct units of `size` bytes that a request touches, in order.
template <typename Accesses>
std::vector<uint64_t> units(const Accesses& accesses, size_t size) {
  std::vector<uint64_t> list;
  for (const auto& a : accesses)
    for (uint64_t u = a.address / size; u <= (a.address + a.bytes - 1) / size; ++u)
      list.push_back(u);
  std::sort(list.begin(), list.end());
  list.erase(std::unique(list.begin(), list.end()), list.end());
  return list;
}

uint64_t up(uint64_t a, uint64_t b) { return (a + b - 1) / b; }

/// Microseconds of an H100 by what is counted alone, from data sheets; and what it waits for.
struct Reckoning {
  double microseconds = 0;
  const char* limit = "";
};

Reckoning reckon(const KernelTraffic& k) {
  constexpr double kProcessors = 132, kGigahertz = 1.6, kCacheGbs = 5500;
  const double scale = double(k.blocks) / std::max<double>(1, double(k.blocks_seen));
  const double per_us = kGigahertz * 1e3 * kProcessors;  // cycles of all processors
  const std::pair<double, const char*> limits[] = {
      {double(k.instructions) / 4 / per_us, "instructions"},
      {double(k.multiply_adds) / 128 / per_us, "multiply-adds"},
      {std::max(double(k.sectors) / 4, double(k.global_requests)) / per_us, "first-level cache"},
      {double(k.passes) / per_us, "shared memory"},
      {double(k.block_sectors) * kSector / (kCacheGbs * 1e3), "second-level cache"}};
  // A warp that depends on itself starts an instruction every four cycles at best.
  Reckoning r = {4 * double(k.longest * k.launches) / (kGigahertz * 1e3), "one warp"};
  for (const auto& [us, name] : limits)
    if (us * scale > r.microseconds) r = {us * scale, name};
  return r;
}

double ratio(uint64_t a, uint64_t b) { return b == 0 ? 1 : double(a) / double(b); }

}  // namespace

void Traffic::begin_launch(const std::string& kernel, const unsigned blocks[3],
                           const unsigned threads[3]) {
  const auto extents = [](const unsigned e[3]) {
    return std::to_string(e[0]) + "x" + std::to_string(e[1]) + "x" + std::to_string(e[2]);
  };
  now_ = &kernels_[kernel + " " + extents(blocks) + " blocks of " + extents(threads)];
  ++now_->launches;
  const size_t count = size_t{1} * blocks[0] * blocks[1] * blocks[2];
  now_->blocks += count;
  stride_ = most_ == 0 ? 1 : up(count, most_);
}

bool Traffic::begin_block(size_t block, size_t threads) {
  looking_ = block % stride_ == 0;
  if (!looking_) return !only_;
  ++now_->blocks_seen;
  threads_.assign(threads, Thread());
  seen_.clear();
  return true;
}

void Traffic::instruction(size_t thread, bool multiply_add) {
  if (!looking_) return;
  ++threads_[thread].instructions;
  if (multiply_add) ++now_->multiply_adds;
}

void Traffic::access(size_t thread, size_t line, Memory memory, uint64_t address, size_t bytes) {
  if (!looking_) return;
  if (memory == Memory::local) {
    ++now_->local_accesses;
    return;
  }
  threads_[thread].accesses.push_back(
      {static_cast<uint32_t>(line), memory, static_cast<uint8_t>(bytes), address});
}

// Threads of a warp go the same way, as a rule: the nth time that each of them comes to an
// instruction since the last barrier is one request.
void Traffic::end_of_interval() {
  if (!looking_) return;
  std::map<uint64_t, std::vector<Access>> requests;
  std::map<uint32_t, uint64_t> times;
  for (size_t begin = 0; begin < threads_.size(); begin += kWarp) {
    requests.clear();
    for (size_t i = begin; i < std::min(begin + kWarp, threads_.size()); ++i) {
      times.clear();
      for (const Access& a : threads_[i].accesses)
        requests[times[a.line]++ << 32 | a.line].push_back(a);
      threads_[i].accesses.clear();
    }
    for (const auto& [key, accesses] : requests) count_request(accesses);
  }
}

void Traffic::count_request(const std::vector<Access>& of_warp) {
  if (of_warp.front().memory == Memory::global) {
    const std::vector<uint64_t> sectors = units(of_warp, kSector);
    ++now_->global_requests;
    now_->sectors += sectors.size();
    now_->least_sectors += up(units(of_warp, 1).size(), kSector);
    for (const uint64_t s : sectors)
      if (seen_.insert(s).second) ++now_->block_sectors;
    return;
  }
  const std::vector<uint64_t> words = units(of_warp, kWord);
  size_t in_bank[kBanks] = {};
  for (const uint64_t w : words) ++in_bank[w % kBanks];
  ++now_->shared_requests;
  now_->passes += *std::max_element(std::begin(in_bank), std::end(in_bank));
  now_->least_passes += up(words.size(), kBanks);
}

void Traffic::end_block() {
  if (!looking_) return;
  end_of_interval();
  for (size_t begin = 0; begin < threads_.size(); begin += kWarp) {
    uint64_t most = 0;
    for (size_t i = begin; i < std::min(begin + kWarp, threads_.size()); ++i)
      most = std::max(most, threads_[i].instructions);
    now_->instructions += most;
    now_->longest = std::max(now_->longest, most);
  }
}

std::string Traffic::table() const {
  std::vector<std::pair<const std::string*, const KernelTraffic*>> order;
  for (const auto& [name, k] : kernels_) order.emplace_back(&name, &k);
  std::sort(order.begin(), order.end(), [](const auto& a, const auto& b) {
    return reckon(*a.second).microseconds > reckon(*b.second).microseconds;
  });
  std::string text =
      "us\tlimit\tlaunches\tblocks\tseen\twarp_instructions\tper_multiply_add\tsectors\t"
      "sectors_over_least\tpasses\tpasses_over_least\tlocal\tkernel\n";
  for (const auto& [name, k] : order) {
    const Reckoning r = reckon(*k);
    char line[512];
    std::snprintf(
        line, sizeof line, "%.2f\t%s\t%llu\t%llu\t%llu\t%llu\t%.2f\t%llu\t%.2f\t%llu\t%.2f\t%llu\t",
        r.microseconds, r.limit, (unsigned long long)k->launches, (unsigned long long)k->blocks,
        (unsigned long long)k->blocks_seen, (unsigned long long)k->instructions,
        ratio(k->instructions * kWarp, k->multiply_adds), (unsigned long long)k->sectors,
        ratio(k->sectors, k->least_sectors), (unsigned long long)k->passes,
        ratio(k->passes, k->least_passes), (unsigned long long)k->local_accesses);
    text += line + *name + "\n";
  }
  return text;
}

}  // namespace tintype::ptx
