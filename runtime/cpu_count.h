// How many threads this process should use by default.
#pragma once

#include <optional>
#include <string>

namespace tintype {

/// CPUs that the control groups of a process let it use, rounded up; nothing without a quota. Reads
/// version 1 and 2 of the interface; every enclosing group counts. `proc_self_cgroup` is the text
/// of /proc/self/cgroup, `mount` the folder where the groups are mounted (/sys/fs/cgroup).
std::optional<int> cgroup_cpu_limit(const std::string& proc_self_cgroup, const std::string& mount);

/// The first number of a thread-count variable ("4" or OpenMP's "4,2"); nothing unless it is
/// between 1 and 256.
std::optional<int> parse_thread_count(const char* text);

/// TINTYPE_NUM_THREADS, else OMP_NUM_THREADS, else the smaller of the affinity mask and the control
/// group's quota. At least 1.
int default_thread_count();

}  // namespace tintype
