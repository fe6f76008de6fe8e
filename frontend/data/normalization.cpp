// Statistics of a data set, and their text form.
#include "frontend/data/normalization.h"

#include "frontend/data/data_error.h"
#include "frontend/data/elements.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tintype {

namespace {

/// Calls use(sample) with the input of every sample, as floats.
template <typename Use>
void for_each_input(const Dataset& dataset, const Use& use) {
  std::vector<std::vector<std::byte>> buffers;
  std::vector<std::byte*> places;
  for (const Field& f : dataset.fields())
    buffers.emplace_back(static_cast<size_t>(element_count(f.dims)) * size_of(f.dtype));
  for (auto& b : buffers) places.push_back(b.data());
  const Field& input = dataset.fields().front();
  std::vector<float> values(static_cast<size_t>(element_count(input.dims)));
  for (int64_t i = 0; i < dataset.size(); ++i) {
    throw_unless_ok(dataset.read(i, places));
    convert_to_float(input.dtype, buffers.front().data(), values);
    use(std::span<const float>(values));
  }
}

/// Channels of images, elements of flat inputs, else one for all.
size_t groups_of(const Field& input) {
  return input.dims.size() == 3 || input.dims.size() == 1 ? static_cast<size_t>(input.dims[0]) : 1;
}

std::vector<float> numbers_in(std::string_view text, std::string_view whole) {
  std::vector<float> numbers;
  while (true) {
    const size_t colon = std::min(text.find(':'), text.size());
    float value = 0;
    const auto [end, code] = std::from_chars(text.data(), text.data() + colon, value);
    if (code != std::errc() || end != text.data() + colon || !std::isfinite(value))
      throw DataError(invalid_argument(fmt::format(
          "normalisation '{}': expected numbers separated by ':', found '{}'", whole, text)));
    numbers.push_back(value);
    if (colon == text.size()) return numbers;
    text.remove_prefix(colon + 1);
  }
}

std::string list_text(const std::vector<float>& numbers) {
  return fmt::format("{}", fmt::join(numbers, ":"));
}

}  // namespace

Result<Normalization> Normalization::unit(const Dataset& dataset) {
  return without_throwing([&]() -> Result<Normalization> {
    if (dataset.fields().front().dtype != DType::u8) return Normalization{};
    float largest = 0;
    for_each_input(dataset, [&](std::span<const float> values) {
      for (const float v : values) largest = std::max(largest, v);
    });
    if (largest == 0) return Normalization{};
    return Normalization{{}, {largest < 128 ? largest : 255.0f}};
  });
}

Result<Normalization> Normalization::standard(const Dataset& dataset) {
  return without_throwing([&]() -> Result<Normalization> {
    if (dataset.size() == 0) return invalid_argument("no samples to compute a mean of");
    const Field& input = dataset.fields().front();
    if (!becomes_float(input.dtype))
      return invalid_argument("inputs of " + std::string(name_of(input.dtype)) +
                              " are not normalised");
    const size_t groups = groups_of(input);
    // Welford 1962: one pass, and no difference of large sums.
    std::vector<double> mean(groups), squares(groups), count(groups);
    for_each_input(dataset, [&](std::span<const float> values) {
      const size_t each = values.size() / groups;
      for (size_t i = 0; i < values.size(); ++i) {
        const size_t g = i / each;
        const double value = static_cast<double>(values[i]), delta = value - mean[g];
        mean[g] += delta / ++count[g];
        squares[g] += delta * (value - mean[g]);
      }
    });
    Normalization n;
    for (size_t g = 0; g < groups; ++g) {
      const auto deviation = static_cast<float>(std::sqrt(squares[g] / std::max(count[g], 1.0)));
      n.mean.push_back(static_cast<float>(mean[g]));
      n.deviation.push_back(deviation > 0 ? deviation : 1.0f);
    }
    return n;
  });
}

Result<Normalization> Normalization::parse(std::string_view text, const Dataset& dataset) {
  if (text == "unit") return unit(dataset);
  if (text == "standard") return standard(dataset);
  return parse(text);
}

Result<Normalization> Normalization::parse(std::string_view text) {
  if (text == "none") return Normalization{};
  return without_throwing([&]() -> Result<Normalization> {
    Normalization n;
    std::string_view rest = text;
    do {
      const size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view part = rest.substr(0, comma);
      if (part.starts_with("mean=")) n.mean = numbers_in(part.substr(5), text);
      else if (part.starts_with("std=")) n.deviation = numbers_in(part.substr(4), text);
      else
        return invalid_argument(fmt::format("normalisation: expected none, unit, standard, or "
                                            "mean=M:M:M,std=S:S:S; found '{}'",
                                            text));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
    } while (!rest.empty());
    if (std::any_of(n.deviation.begin(), n.deviation.end(), [](float d) { return !(d > 0); }))
      return invalid_argument(
          fmt::format("normalisation '{}': expected positive standard deviations", text));
    return n;
  });
}

std::string Normalization::text() const {
  if (mean.empty() && deviation.empty()) return "none";
  std::string out;
  if (!mean.empty()) out = "mean=" + list_text(mean);
  if (!deviation.empty()) out += (out.empty() ? "std=" : ",std=") + list_text(deviation);
  return out;
}

}  // namespace tintype
