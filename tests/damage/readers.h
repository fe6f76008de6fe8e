// Everything that Tintype reads, in one table: whole files of each kind, and what reads them.
#pragma once

#include "ir/graph.h"
#include "runtime/status.h"

#include <cstdint>
#include <string>
#include <vector>

namespace tintype::test {

/// How a reader ended.
struct Outcome {
  StatusCode code = StatusCode::ok;
  std::string message;

  bool ok() const { return code == StatusCode::ok; }
  /// Success, or a mistake that is the file's: no defect of ours and no lack of memory.
  bool typed() const {
    return code != StatusCode::internal && code != StatusCode::out_of_memory &&
           (ok() || !message.empty());
  }
};

struct Reader {
  std::string name;    ///< of the kind of file: letters and '_'
  std::string ending;  ///< that file names have
  std::vector<std::string> (*whole)();
  /// Reads a file and uses all of what came out. Any exception but those of the compiler for
  /// mistakes of users is a defect.
  void (*read)(const std::string& path, Outcome& outcome);
  /// Makes checksums fit again, so that what is behind them is reached; may be null.
  void (*repair)(std::string& bytes) = nullptr;
  uint64_t count = 2000;  ///< of damaged files in the test suite: seconds at most
};

std::vector<Reader> data_readers();
std::vector<Reader> model_readers();
std::vector<Reader> text_readers();
std::vector<Reader> all_readers();

/// Calls the reader; what it throws becomes an outcome.
Outcome read_with(const Reader& reader, const std::string& path);

/// All the way to regions, which kernels are made of.
void optimize_to_regions(Graph& graph);
/// Contents of files of this repository.
std::string content_of(const std::string& path);
/// Sums up all bytes, so that sanitizers see each of them read.
void touch(const void* data, size_t bytes);
/// Fills in `outcome` when the result is not ok, and says whether it is.
bool accept(const Status& status, Outcome& outcome);

}  // namespace tintype::test
