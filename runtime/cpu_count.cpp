// Reads the environment, the affinity mask and the control groups.
#include "runtime/cpu_count.h"

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <iterator>
#include <sched.h>
#include <sstream>
#include <thread>
#include <vector>

namespace tintype {

namespace {

std::string read_text(const std::string& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::optional<int> limit_of(const std::string& quota, const std::string& period) {
  const long long q = std::atoll(quota.c_str()), p = std::atoll(period.c_str());
  if (q <= 0 || p <= 0) return std::nullopt;  // "max" in version 2, -1 in version 1
  return static_cast<int>(std::clamp((q + p - 1) / p, 1LL, 4096LL));
}

std::optional<int> limit_of_group(const std::string& folder, bool unified) {
  if (!unified)
    return limit_of(read_text(folder + "/cpu.cfs_quota_us"),
                    read_text(folder + "/cpu.cfs_period_us"));
  std::istringstream both(read_text(folder + "/cpu.max"));
  std::string quota, period;
  both >> quota >> period;
  return limit_of(quota, period);
}

// Inside a container the path in /proc/self/cgroup is often that of the host and does not exist
// below the mount; the walk towards the root then ends at the container's own group.
std::optional<int> limit_of_path(const std::string& root, std::string path, bool unified) {
  std::optional<int> least;
  for (;;) {
    const std::optional<int> here = limit_of_group(root + path, unified);
    if (here && (!least || *here < *least)) least = here;
    const size_t slash = path.find_last_of('/');
    if (slash == std::string::npos) return least;
    path.resize(slash);
  }
}

bool lists_cpu(const std::string& controllers) {
  std::istringstream list(controllers);
  for (std::string name; std::getline(list, name, ',');)
    if (name == "cpu") return true;
  return false;
}

}  // namespace

std::optional<int> cgroup_cpu_limit(const std::string& proc_self_cgroup, const std::string& mount) {
  std::optional<int> least;
  std::istringstream lines(proc_self_cgroup);
  for (std::string line; std::getline(lines, line);) {  // "4:cpu,cpuacct:/a/b" or "0::/a/b"
    const size_t first = line.find(':');
    const size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    std::string path = line.substr(second + 1);
    if (path == "/") path.clear();
    const bool unified = controllers.empty();
    if (!unified && !lists_cpu(controllers)) continue;
    const std::vector<std::string> folders{unified ? mount : mount + "/cpu",
                                           mount + "/" + (unified ? "unified" : controllers)};
    for (const std::string& folder : folders) {
      const std::optional<int> limit = limit_of_path(folder, path, unified);
      if (limit && (!least || *limit < *least)) least = limit;
    }
  }
  return least;
}

std::optional<int> parse_thread_count(const char* text) {
  if (text == nullptr) return std::nullopt;
  char* end = nullptr;
  const long value = std::strtol(text, &end, 10);
  if (end == text || value < 1 || value > 256) return std::nullopt;
  while (*end == ' ') ++end;
  if (*end != '\0' && *end != ',') return std::nullopt;
  return static_cast<int>(value);
}

int default_thread_count() {
  if (const auto n = parse_thread_count(std::getenv("TINTYPE_NUM_THREADS"))) return *n;
  if (const auto n = parse_thread_count(std::getenv("OMP_NUM_THREADS"))) return *n;
  cpu_set_t mask;
  CPU_ZERO(&mask);
  int cpus = sched_getaffinity(0, sizeof mask, &mask) == 0
                 ? CPU_COUNT(&mask)
                 : static_cast<int>(std::thread::hardware_concurrency());
  if (const auto limit = cgroup_cpu_limit(read_text("/proc/self/cgroup"), "/sys/fs/cgroup"))
    cpus = std::min(cpus, *limit);
  return std::clamp(cpus, 1, 256);
}

}  // namespace tintype
