// Pictures of a training run: SVG text, and PNG where pixels are the point.
#pragma once

#include "frontend/data/image.h"
#include "frontend/plot/history.h"
#include "runtime/status.h"
#include "runtime/tensor.h"

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace tintype {

struct CurveOptions {
  std::string title = {};
  bool log_loss = false;  ///< logarithmic axis for the loss; ignored where a value is not positive
};

/// Learning curves, training and validation over epochs: one panel for the loss and one for every
/// other metric. Values that are not finite leave a gap.
std::string curves_svg(const std::vector<HistoryRow>& history, const CurveOptions& options = {});

/// Points joined by a line; those that the axes can not show interrupt it.
struct Line {
  std::string name;
  std::vector<std::pair<double, double>> points;
};

struct LineOptions {
  std::string title = {}, x_label = {}, y_label = {};
  bool log_x = false, log_y = false;
};

/// Lines in one panel, with a legend.
std::string lines_svg(const std::vector<Line>& lines, const LineOptions& options = {});

/// The filters of a first layer as a grid of enlarged pictures: weights f32 [filters, channels,
/// height, width], or [filters, height * width] with square filters. One or three channels are
/// drawn as grey or colour, more as one grey picture each. Each filter has its own contrast; in
/// grey, zero is the middle.
Result<Image> filters_picture(const Tensor& weights);

/// A confusion matrix with numbers: counts[truth * classes + predicted]. Names may be empty.
Result<std::string> confusion_svg(std::span<const int64_t> counts,
                                  const std::vector<std::string>& class_names,
                                  const std::string& title = {});

struct Prediction {
  Image image;
  std::string predicted, truth;
  double confidence = -1;  ///< in [0, 1]; negative: unknown
};
/// Samples with what the model says of them; mistakes in red, with the truth.
Result<std::string> predictions_svg(const std::vector<Prediction>& predictions,
                                    const std::string& title = {});

/// Pictures of one size side by side, each enlarged by a whole factor to about `side` pixels, in
/// rows of `columns`; every `group` rows stand together. Empty where the list ends before the row
/// does. Fails when there are none, or sizes or channels differ.
Result<Image> picture_grid(const std::vector<Image>& pictures, int columns, int group = 1,
                           int side = 56);

/// A picture of a tensor f32 or u8 [1 or 3, height, width]: [low, high] becomes black to white; low
/// == high: the tensor's own range.
Result<Image> tensor_picture(const Tensor& tensor, double low = 0, double high = 0);

}  // namespace tintype
