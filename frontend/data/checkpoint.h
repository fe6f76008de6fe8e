// A training run on disk: everything it takes to continue it.
#pragma once

#include "frontend/data/loader.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

namespace tintype {

struct Checkpoint {
  /// Parameters, optimizer state, running statistics, by the names of the program's states.
  std::map<std::string, Tensor> tensors;
  int64_t step = 0;  ///< steps done; with the seed this is the state of all random numbers
  uint64_t seed = 0;
  DataCursor cursor;             ///< the next batch of the training data
  std::vector<double> schedule;  ///< memory of the learning-rate schedule
  std::string metadata = "{}";   ///< a JSON object: history, options, whatever the trainer needs
};

inline constexpr uint32_t kCheckpointVersion = 1;

/// One file, described in docs/data.md, written whole or not at all: whatever interrupts this, the
/// path names the old checkpoint or the new one. Fails when metadata is not a JSON object.
Status save_checkpoint(const Checkpoint& checkpoint, const std::string& path);
/// Checks every byte of the file against its checksum; a file that was cut short or changed is
/// refused as StatusCode::corrupt_file. The tensors read from the mapped file, which saving over
/// the path leaves alone. Messages begin with the path.
Result<Checkpoint> load_checkpoint(const std::string& path);

/// Element by element mean of the tensors, for weights of several checkpoints. All maps must have
/// the same names, dtypes and dims. Floats are averaged in double precision and rounded once; other
/// types must agree in all elements.
Result<std::map<std::string, Tensor>> average_checkpoints(
    std::span<const std::map<std::string, Tensor>> checkpoints);

}  // namespace tintype
