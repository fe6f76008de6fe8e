// Boxes of bytes: both are written in one system of digits, and compared digit by digit.
#include "runtime/byte_box.h"

#include <algorithm>
#include <optional>

namespace tintype {

namespace {

/// Numbers from `first` to `last` of one digit.
struct Range {
  int64_t first, last;
};

/// Axes that were joined, taken apart again where the other box has a stride between: whole rows.
std::vector<ByteBox::Axis> cut(const std::vector<ByteBox::Axis>& axes,
                               const std::vector<int64_t>& strides) {
  std::vector<ByteBox::Axis> parts;
  for (ByteBox::Axis axis : axes) {
    for (int64_t stride : strides) {
      const int64_t length = axis.stride * axis.extent;
      if (stride <= axis.stride || stride >= length || length % stride != 0 ||
          stride % axis.stride != 0)
        continue;
      parts.push_back({stride, length / stride});
      axis.extent = stride / axis.stride;
    }
    parts.push_back(axis);
  }
  return parts;
}

/// The box as one range per stride. Every byte is a sum of digits times strides; nothing when some
/// sum of the lower digits reaches the next stride, so that digits would not be what a division
/// finds.
std::optional<std::vector<Range>> digits_of(const ByteBox& box, int64_t origin,
                                            const std::vector<int64_t>& strides) {
  const std::vector<ByteBox::Axis> axes = cut(box.axes, strides);
  std::vector<Range> ranges(strides.size());
  int64_t rest = box.begin - origin;
  for (size_t i = 0; i < strides.size(); ++i) {
    ranges[i] = {rest / strides[i], rest / strides[i]};
    rest %= strides[i];
    for (const ByteBox::Axis& axis : axes)
      if (axis.stride == strides[i]) ranges[i].last += axis.extent - 1;
  }
  int64_t lower = 0;
  for (size_t i = strides.size(); i-- > 1;) {
    lower += ranges[i].last * strides[i];
    if (lower >= strides[i - 1]) return std::nullopt;
  }
  return ranges;
}

}  // namespace

ByteBox byte_box(int64_t offset, std::span<const int64_t> extents, std::span<const int64_t> strides,
                 int64_t element) {
  ByteBox box;
  box.begin = box.end = offset * element;
  std::vector<ByteBox::Axis> axes;
  if (element > 1) axes.push_back({1, element});
  for (size_t i = 0; i < extents.size(); ++i) {
    if (extents[i] <= 0) return box;
    int64_t stride = strides[i] * element;
    if (extents[i] == 1 || stride == 0) continue;
    if (stride < 0) {
      box.begin += stride * (extents[i] - 1);
      stride = -stride;
    }
    axes.push_back({stride, extents[i]});
  }
  std::stable_sort(axes.begin(), axes.end(),
                   [](const auto& a, const auto& b) { return a.stride > b.stride; });
  for (const ByteBox::Axis& axis : axes) {
    if (!box.axes.empty() && box.axes.back().stride == axis.stride * axis.extent)
      box.axes.back() = {axis.stride, axis.extent * box.axes.back().extent};
    else box.axes.push_back(axis);
  }
  if (box.axes.empty()) box.axes.push_back({1, 1});
  box.end = box.begin + 1;
  for (const ByteBox::Axis& axis : box.axes) box.end += axis.stride * (axis.extent - 1);
  return box;
}

bool may_overlap(const ByteBox& a, const ByteBox& b) {
  if (a.empty() || b.empty() || a.end <= b.begin || b.end <= a.begin) return false;
  if (a.dense() && b.dense()) return true;
  std::vector<int64_t> strides = {1};
  for (const ByteBox* box : {&a, &b})
    for (const ByteBox::Axis& axis : box->axes) strides.push_back(axis.stride);
  std::sort(strides.begin(), strides.end(), std::greater<>());
  strides.erase(std::unique(strides.begin(), strides.end()), strides.end());
  const int64_t origin = std::min<int64_t>({a.begin, b.begin, 0});
  const auto x = digits_of(a, origin, strides), y = digits_of(b, origin, strides);
  if (!x || !y) return true;
  for (size_t i = 0; i < strides.size(); ++i)
    if ((*x)[i].last < (*y)[i].first || (*y)[i].last < (*x)[i].first) return false;
  return true;
}

}  // namespace tintype
