// How a node is to be computed, as data: what select-algorithms chooses, and tuning records keep.
#pragma once

#include "runtime/winograd.h"

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

namespace tintype {

/// One way to compute a product, a convolution, or the gradient of its weights.
struct Algorithm {
  enum class Kind : uint8_t {
    plain,           ///< as it stands, weights as they lie
    amx,             ///< tiles of bf16 terms; weights packed beforehand where there are panels
    packed,          ///< weights in panels: direct convolutions, products, recurrent cells
    winograd,        ///< three kernels: points of the input, products, results
    winograd_fused,  ///< one kernel, whose points stay in the cache
    patches,         ///< windows written out, then a product
    wide,            ///< several positions as one, then chosen for again
    library,         ///< a call of NVIDIA's
  };
  Kind kind = Kind::plain;
  WinogradForm form = {};  ///< of Winograd's
  int64_t panel = 0;       ///< columns of the panels of weights; 0 where they are not packed
  int64_t positions = 1;   ///< that a wide convolution computes as one

  /// "plain", "amx", "amx 32", "packed 64", "winograd f4 64", "winograd f2 zero margins 32",
  /// "winograd fused f4 48", "patches 64", "wide 3", "library".
  std::string text() const;
  /// The same but for the width of panels.
  bool same_family(const Algorithm& other) const;
  bool operator==(const Algorithm& other) const;
};

/// Reads what Algorithm::text wrote; nothing for anything else.
std::optional<Algorithm> parse_algorithm(std::string_view text);

/// What a measurement found for one key: the choice, what the cost model had chosen, and the time
/// of both in the same program, one after the other.
struct TunedAlgorithm {
  Algorithm choice = {}, reckoned = {};
  double milliseconds = 0, reckoned_milliseconds = 0;
};

/// Measured choices by key (codegen/algorithm_choice.h), of one machine and setting.
using Tuning = std::map<std::string, TunedAlgorithm>;

}  // namespace tintype
