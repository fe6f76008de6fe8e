// Where the marks of an axis go.
#pragma once

#include <string>
#include <vector>

namespace tintype {

/// A range of values on a line of pixels.
struct Axis {
  double low = 0, high = 1;  ///< low < high; both positive if `log`
  bool log = false;
  double from = 0, to = 1;  ///< pixels of low and high

  double pixel(double value) const;
};

/// An axis that holds [low, high], with some room; a range without extent gets one.
Axis axis_over(double low, double high, bool log);

/// About `count` round values inside the axis: 1, 2 or 5 times a power of ten apart; powers of ten
/// (and 2 and 5 times those, when there are few) on a logarithmic axis.
std::vector<double> ticks(const Axis& axis, int count);

/// "0.25", "1,200", "1e-05": as many decimals as the distance to the next tick needs.
std::string tick_label(double value, const std::vector<double>& all);

}  // namespace tintype
