// Options, and their text form.
#include "frontend/data/augmentation.h"

#include "frontend/data/data_error.h"
#include "runtime/nearest_name.h"
#include "runtime/tensor.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <variant>

namespace tintype {

namespace {

struct Option {
  const char* name;
  std::variant<int64_t Augmentation::*, double Augmentation::*> member;
  double largest;    ///< the values allowed are 0 to this
  double when_bare;  ///< the value without '='; negative: there has to be one
};

constexpr double kMostPixels = 65536;

const Option kOptions[] = {{"shift", &Augmentation::shift, kMostPixels, -1},
                           {"rotate", &Augmentation::rotate, 180, -1},
                           {"scale", &Augmentation::scale, 0.99, -1},
                           {"flip", &Augmentation::flip, 1, 0.5},
                           {"pad", &Augmentation::pad, kMostPixels, -1},
                           {"crop", &Augmentation::crop, kMostPixels, -1},
                           {"noise", &Augmentation::noise, 1e6, -1},
                           {"cutout", &Augmentation::cutout, kMostPixels, -1}};

[[noreturn]] void wrong(const std::string& message) {
  throw DataError(invalid_argument("augmentation: " + message));
}

const Option& find_option(std::string_view name) {
  std::vector<std::string> known;
  for (const Option& o : kOptions) {
    if (name == o.name) return o;
    known.emplace_back(o.name);
  }
  const std::string near = nearest_name(name, known);
  wrong(fmt::format("there is no '{}'{}; known are {}", name,
                    near.empty() ? "" : " (did you mean '" + near + "'?)", fmt::join(known, ", ")));
}

void set(Augmentation& a, std::string_view part) {
  const size_t equals = std::min(part.find('='), part.size());
  const Option& option = find_option(part.substr(0, equals));
  double value = option.when_bare;
  if (equals < part.size()) {
    const char* end = part.data() + part.size();
    const auto [stop, code] = std::from_chars(part.data() + equals + 1, end, value);
    if (code != std::errc() || stop != end) value = -1;
  } else if (value < 0) {
    wrong(fmt::format("{} needs a value, as in {}=2", option.name, option.name));
  }
  const bool whole = std::holds_alternative<int64_t Augmentation::*>(option.member);
  if (!(value >= 0 && value <= option.largest) || (whole && value != std::floor(value)))
    wrong(fmt::format("{} expects a {} from 0 to {}, found '{}'", option.name,
                      whole ? "whole number" : "number", option.largest, part));
  std::visit(
      [&](auto member) { a.*member = static_cast<std::decay_t<decltype(a.*member)>>(value); },
      option.member);
}

}  // namespace

Result<Augmentation> Augmentation::parse(std::string_view text) {
  return without_throwing([&]() -> Result<Augmentation> {
    Augmentation a;
    while (!text.empty()) {
      const size_t comma = std::min(text.find(','), text.size());
      set(a, text.substr(0, comma));
      text.remove_prefix(std::min(comma + 1, text.size()));
    }
    return a;
  });
}

std::string Augmentation::text() const {
  std::string out;
  for (const Option& o : kOptions)
    std::visit(
        [&](auto member) {
          if (this->*member != 0)
            out += fmt::format("{}{}={}", out.empty() ? "" : ",", o.name, this->*member);
        },
        o.member);
  return out;
}

Result<std::vector<int64_t>> Augmentation::output_dims(const std::vector<int64_t>& dims) const {
  const bool image = dims.size() == 3 && dims[0] > 0 && dims[1] > 0 && dims[2] > 0;
  if (needs_images() && !image)
    return invalid_argument("augmentation '" + text() +
                            "' needs images (channels, height, width); the inputs are " +
                            type_string(DType::f32, dims));
  if (crop == 0) return dims;
  if (crop > dims[1] + 2 * pad || crop > dims[2] + 2 * pad)
    return invalid_argument(fmt::format("augmentation: a crop of {0}x{0} does not fit an image of "
                                        "{1}x{2} with {3} pixels of padding",
                                        crop, dims[1], dims[2], pad));
  return std::vector<int64_t>{dims[0], crop, crop};
}

}  // namespace tintype
