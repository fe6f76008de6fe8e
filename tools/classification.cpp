// Counting, and files of pictures.
#include "tools/classification.h"

#include "frontend/plot/plots.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>
#include <fmt/format.h>
#include <numeric>
#include <span>

namespace tintype::cli {

namespace {

constexpr int64_t kPictures = 24;
constexpr int64_t kDrawnClasses = 100;

void throw_unless(const Status& status) {
  if (!status.ok()) throw Error(status.message());
}

template <typename T>
T checked(Result<T> result) {
  if (!result.ok()) throw Error(result.status().message());
  return std::move(result).value();
}

/// Softmax of the row's largest entry, or the entry itself where the row is a distribution already.
double confidence_of(std::span<const double> row, size_t best) {
  double sum = 0, exponentials = 0;
  bool positive = true;
  for (const double v : row) {
    sum += v;
    positive = positive && v >= 0;
    exponentials += std::exp(v - row[best]);
  }
  return positive && std::abs(sum - 1) < 1e-3 ? row[best] : 1 / exponentials;
}

double quotient(int64_t a, int64_t b) {
  return b == 0 ? 0 : static_cast<double>(a) / static_cast<double>(b);
}

/// Numbers of the samples to draw.
std::vector<int64_t> shown_samples(const Classified& c, bool mistakes_first) {
  std::vector<int64_t> order(c.predicted.size());
  std::iota(order.begin(), order.end(), int64_t{0});
  const auto wrong = [&](int64_t i) {
    const auto at = static_cast<size_t>(i);
    return c.predicted[at] != c.truth[at];
  };
  if (mistakes_first) {
    const auto rights = std::stable_partition(order.begin(), order.end(), wrong);
    std::stable_sort(order.begin(), rights, [&](int64_t a, int64_t b) {
      return c.confidence[static_cast<size_t>(a)] > c.confidence[static_cast<size_t>(b)];
    });
  }
  order.resize(std::min<size_t>(order.size(), kPictures));
  return order;
}

}  // namespace

void Classified::add(const Tensor& scores) {
  classes = scores.dims()[1];
  std::vector<double> row(static_cast<size_t>(classes));
  for (int64_t i = 0; i < scores.dims()[0]; ++i) {
    for (int64_t c = 0; c < classes; ++c)
      row[static_cast<size_t>(c)] = element_as_double(scores, i * classes + c);
    const auto best = std::max_element(row.begin(), row.end()) - row.begin();
    predicted.push_back(best);
    confidence.push_back(confidence_of(row, static_cast<size_t>(best)));
  }
}

int64_t Classified::right() const {
  int64_t count = 0;
  for (size_t i = 0; i < predicted.size(); ++i) count += predicted[i] == truth[i] ? 1 : 0;
  return count;
}

std::vector<int64_t> Classified::confusion() const {
  std::vector<int64_t> counts(static_cast<size_t>(classes * classes));
  for (size_t i = 0; i < predicted.size(); ++i)
    ++counts[static_cast<size_t>(truth[i] * classes + predicted[i])];
  return counts;
}

std::vector<ClassScore> class_scores(const Classified& c, const Dataset& dataset) {
  const std::vector<int64_t> counts = c.confusion();
  std::vector<ClassScore> scores;
  for (int64_t k = 0; k < c.classes; ++k) {
    int64_t truth = 0, predicted = 0;
    for (int64_t other = 0; other < c.classes; ++other) {
      truth += counts[static_cast<size_t>(k * c.classes + other)];
      predicted += counts[static_cast<size_t>(other * c.classes + k)];
    }
    const int64_t right = counts[static_cast<size_t>(k * c.classes + k)];
    scores.push_back({class_name(dataset, k), truth, quotient(right, predicted),
                      quotient(right, truth), quotient(2 * right, truth + predicted)});
  }
  return scores;
}

std::string class_name(const Dataset& dataset, int64_t number) {
  const auto& names = dataset.class_names();
  const auto at = static_cast<size_t>(number);
  return at < names.size() ? names[at] : std::to_string(number);
}

bool has_pictures(const Dataset& dataset) {
  const Field& f = dataset.fields()[0];
  return f.dims.size() == 3 && (f.dims[0] == 1 || f.dims[0] == 3) &&
         (f.dtype == DType::u8 || f.dtype == DType::f32);
}

Tensor input_of(const Dataset& dataset, int64_t index) {
  std::vector<Tensor> sample;
  std::vector<std::byte*> places;
  for (const Field& f : dataset.fields()) {
    sample.push_back(Tensor::empty(f.dtype, f.dims));
    places.push_back(static_cast<std::byte*>(sample.back().mutable_data()));
  }
  throw_unless(dataset.read(index, places));
  return sample[0];
}

void save_classification(const std::string& folder, const Classified& c, const Dataset& dataset,
                         bool mistakes_first) {
  std::vector<std::string> names = dataset.class_names();
  if (static_cast<int64_t>(names.size()) != c.classes) names.clear();
  const std::string title = fmt::format("{} of {} samples right", c.right(), c.predicted.size());
  if (c.classes <= kDrawnClasses)
    throw_unless(
        save_text(checked(confusion_svg(c.confusion(), names, title)), folder + "/confusion.svg"));
  if (!has_pictures(dataset)) return;
  std::vector<Prediction> shown;
  for (const int64_t i : shown_samples(c, mistakes_first)) {
    const auto at = static_cast<size_t>(i);
    shown.push_back({checked(tensor_picture(input_of(dataset, i))),
                     class_name(dataset, c.predicted[at]), class_name(dataset, c.truth[at]),
                     c.confidence[at]});
  }
  throw_unless(save_text(checked(predictions_svg(shown, title)), folder + "/predictions.svg"));
}

}  // namespace tintype::cli
