// The order of steps is that of Augmentation's comment.
#include "frontend/data/sample_pipeline.h"

#include "frontend/data/data_error.h"
#include "frontend/data/elements.h"

#include <algorithm>

namespace tintype {

namespace {

/// The augmentation without what is random: a crop remains, which decides the extents.
Augmentation for_evaluation(const Augmentation& a) {
  Augmentation fixed;
  fixed.pad = a.crop > 0 ? a.pad : 0;
  fixed.crop = a.crop;
  return fixed;
}

ImageExtents extents_of(const std::vector<int64_t>& dims) {
  return dims.size() == 3 ? ImageExtents{dims[0], dims[1], dims[2]} : ImageExtents{};
}

void check_fit(const char* what, size_t found, const std::vector<int64_t>& dims) {
  const bool grouped = dims.size() == 3 || dims.size() == 1;
  const size_t groups = grouped ? static_cast<size_t>(dims[0]) : 1;
  if (found > 1 && found != groups)
    throw DataError(invalid_argument(fmt::format(
        "normalisation: {} values of {} for inputs of {}; expected {}", found, what,
        type_string(DType::f32, dims), groups == 1 ? "1" : fmt::format("1 or {}", groups))));
}

}  // namespace

SamplePipeline::SamplePipeline(const Field& input, const Augmentation& augmentation,
                               bool evaluation, const Normalization& normalization)
    : dtype_(input.dtype), input_size_(static_cast<size_t>(element_count(input.dims))),
      augmentation_(evaluation ? for_evaluation(augmentation) : augmentation),
      evaluation_(evaluation), normalization_(normalization),
      output_dims_(value_or_throw(augmentation_.output_dims(input.dims))),
      extents_(extents_of(input.dims)), window_(extents_of(output_dims_)) {
  const Augmentation& a = augmentation_;
  moves_ = a.shift > 0 || a.rotate > 0 || a.scale > 0 || a.flip > 0 || a.pad > 0 || a.crop > 0;
  check_fit("mean", normalization.mean.size(), input.dims);
  check_fit("standard deviation", normalization.deviation.size(), input.dims);
}

void SamplePipeline::run(const std::byte* raw, RandomDraws draws, Scratch& scratch,
                         std::span<float> to, std::span<float> clean) const {
  if (moves_) {
    scratch.first.resize(input_size_);
    convert_to_float(dtype_, raw, scratch.first);
    move_pixels(draws, scratch, to);
  } else {
    convert_to_float(dtype_, raw, to);
  }
  normalize(to);
  if (!clean.empty()) std::copy(to.begin(), to.end(), clean.begin());
  if (!evaluation_) disturb(draws, to);
}

void SamplePipeline::move_pixels(RandomDraws& draws, Scratch& scratch, std::span<float> to) const {
  const Augmentation& a = augmentation_;
  const auto whole_pixels = [&draws](int64_t most) {
    return static_cast<int64_t>(draws.below(static_cast<uint64_t>(2 * most + 1))) - most;
  };
  if (a.shift > 0 || a.rotate > 0 || a.scale > 0) {
    const double degrees = draws.uniform(-a.rotate, a.rotate);
    const double zoom = draws.uniform(1 - a.scale, 1 + a.scale);
    const auto right = static_cast<double>(whole_pixels(a.shift));
    const auto down = static_cast<double>(whole_pixels(a.shift));
    scratch.second.resize(input_size_);
    transform_image(scratch.first, extents_, degrees, zoom, right, down, scratch.second);
    std::swap(scratch.first, scratch.second);
  }
  // The window lies somewhere in the padded image; in the middle of it for evaluation.
  const int64_t free_rows = extents_.height + 2 * a.pad - window_.height;
  const int64_t free_columns = extents_.width + 2 * a.pad - window_.width;
  const auto place = [&](int64_t free) {
    return evaluation_ ? free / 2
                       : static_cast<int64_t>(draws.below(static_cast<uint64_t>(free) + 1));
  };
  const int64_t top = place(free_rows) - a.pad, left = place(free_columns) - a.pad;
  const bool flip = a.flip > 0 && draws.unit() < a.flip;
  crop_image(scratch.first, extents_, top, left, flip, window_, to);
}

void SamplePipeline::normalize(std::span<float> values) const {
  const Normalization& n = normalization_;
  const size_t groups = std::max({n.mean.size(), n.deviation.size(), size_t{1}});
  if (n.mean.empty() && n.deviation.empty()) return;
  const size_t each = values.size() / groups;
  const auto entry = [](const std::vector<float>& list, size_t group, float missing) {
    return list.empty() ? missing : list[list.size() == 1 ? 0 : group];
  };
  for (size_t g = 0; g < groups; ++g) {
    const float mean = entry(n.mean, g, 0), deviation = entry(n.deviation, g, 1);
    for (float& v : values.subspan(g * each, each)) v = (v - mean) / deviation;
  }
}

void SamplePipeline::disturb(RandomDraws& draws, std::span<float> values) const {
  const Augmentation& a = augmentation_;
  for (size_t i = 0; a.noise > 0 && i < values.size(); i += 2) {
    const auto [first, second] = draws.normals();
    values[i] += static_cast<float>(a.noise * first);
    if (i + 1 < values.size()) values[i + 1] += static_cast<float>(a.noise * second);
  }
  if (a.cutout > 0) {
    const auto y = static_cast<int64_t>(draws.below(static_cast<uint64_t>(window_.height)));
    const auto x = static_cast<int64_t>(draws.below(static_cast<uint64_t>(window_.width)));
    cut_out(values, window_, y, x, a.cutout);
  }
}

}  // namespace tintype
