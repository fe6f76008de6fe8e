// Reading and writing cases; elements and samples that both sides agree on.
#include "tools/check/case.h"

#include "runtime/philox.h"
#include "runtime/scalar.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <fstream>
#include <sstream>

namespace tintype::check {

namespace {

constexpr int64_t kCompared = 4096;

std::string text_of(const std::vector<int64_t>& dims) {
  std::string s;
  for (const int64_t d : dims) s += (s.empty() ? "" : "x") + std::to_string(d);
  return s.empty() ? "-" : s;
}

std::vector<int64_t> dims_in(const std::string& text) {
  std::vector<int64_t> dims;
  if (text == "-") return dims;
  std::stringstream stream(text);
  for (std::string d; std::getline(stream, d, 'x');) dims.push_back(std::stoll(d));
  return dims;
}

}  // namespace

Result<Case> read_case(const std::string& folder) {
  Case c;
  c.folder = folder;
  std::ifstream file(folder + "/case.txt");
  if (!file) return Status(StatusCode::io_error, folder + "/case.txt: cannot be opened");
  int number = 0;
  for (std::string line; std::getline(file, line);) {
    std::istringstream words(line);
    std::string kind, name, dtype, dims, how;
    ++number;
    words >> kind;
    if (kind == "runs") {
      words >> c.runs;
    } else {
      words >> name >> dtype >> dims;
      const std::optional<DType> type = dtype_from_name(dtype);
      if (!type) words.setstate(std::ios::failbit);
      if (kind == "input" && words) {
        Input i{name, *type, dims_in(dims), std::nullopt};
        uint64_t value = 0;
        words >> how >> value;
        if (how == "seed") i.seed = value;
        else i.offset = value;
        c.inputs.push_back(std::move(i));
      } else if (kind == "expect" && words) {
        Expectation e{name, *type, dims_in(dims)};
        words >> e.scale >> e.offset;
        c.expectations.push_back(std::move(e));
      } else {
        words.setstate(std::ios::failbit);
      }
    }
    if (words.fail())
      return Status(StatusCode::corrupt_file, folder + "/case.txt, line " + std::to_string(number) +
                                                  ": '" + line + "' is no fact of a case");
  }
  return c;
}

std::string text_of(const Case& c) {
  std::ostringstream s;
  s.precision(17);
  s << "runs " << c.runs << "\n";
  for (const Input& i : c.inputs)
    s << "input " << i.name << " " << name_of(i.dtype) << " " << text_of(i.dims)
      << (i.seed ? " seed " + std::to_string(*i.seed) : " data " + std::to_string(i.offset))
      << "\n";
  for (const Expectation& e : c.expectations)
    s << "expect " << e.what << " " << name_of(e.dtype) << " " << text_of(e.dims) << " " << e.scale
      << " " << e.offset << "\n";
  return s.str();
}

Tensor random_elements(DType dtype, const std::vector<int64_t>& dims, uint64_t seed) {
  Tensor t = Tensor::empty(dtype, dims);
  const philox::Key key = {static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32)};
  auto* p = static_cast<std::byte*>(t.mutable_data());
  philox::Block words{};
  for (int64_t i = 0; i < t.size(); ++i, p += size_of(dtype)) {
    const auto at = static_cast<uint64_t>(i) / 4;
    if (i % 4 == 0)
      words =
          philox::words({static_cast<uint32_t>(at), static_cast<uint32_t>(at >> 32), 0, 0}, key);
    const uint32_t word = words[static_cast<size_t>(i % 4)];
    if (is_float(dtype)) store_scalar(dtype, std::ldexp(word >> 8, -23) - 1.0, p);
    else if (dtype == DType::boolean) store_scalar(dtype, word >> 31, p);
    else store_scalar(dtype, word % 10, p);
  }
  return t;
}

std::vector<int64_t> sampled(int64_t size) {
  std::vector<int64_t> places(static_cast<size_t>(std::min(size, kCompared)));
  for (size_t i = 0; i < places.size(); ++i) {
    const auto n = static_cast<int64_t>(i);
    // One place in each of equal parts, which one in turn: neighbours of all axes take part.
    const int64_t begin = n * (size / kCompared), part = std::max<int64_t>(size / kCompared, 1);
    places[i] = size <= kCompared ? n : begin + (n * 7919) % part;
  }
  return places;
}

std::vector<std::byte> sample_of(const Tensor& t) {
  const size_t bytes = size_of(t.dtype());
  std::vector<std::byte> sample;
  const auto* data = static_cast<const std::byte*>(t.data());
  for (const int64_t i : sampled(t.size())) {
    const auto* p = data + static_cast<size_t>(i) * bytes;
    sample.insert(sample.end(), p, p + bytes);
  }
  return sample;
}

double scale_of(const Tensor& t) {
  double scale = 0;
  const auto* data = static_cast<const std::byte*>(t.data());
  for (int64_t i = 0; i < t.size(); ++i) {
    const double v =
        std::abs(load_scalar(t.dtype(), data + static_cast<size_t>(i) * size_of(t.dtype())));
    if (std::isfinite(v)) scale = std::max(scale, v);
  }
  return scale;
}

}  // namespace tintype::check
