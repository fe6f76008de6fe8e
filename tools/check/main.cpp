// tintype-check: runs the cases of a bundle on this computer's device and compares, or measures.
// Needs the runtime and nothing else; prints one JSON object per line.
#include "runtime/cuda/device.h"
#include "runtime/model.h"
#include "runtime/scalar.h"
#include "runtime/session.h"
#include "tools/check/case.h"

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <system_error>

namespace tintype::check {

namespace {

/// Of the expected tensor's scale, unless --tolerance says otherwise.
double tolerance = 1e-4;

constexpr const char* kUsage =
    "usage: tintype-check device\n"
    "       tintype-check check [--tolerance T] CASE ...\n"
    "       tintype-check bench [--seconds S] [--batch N] CASE ...\n"
    "CASE is a folder with case.txt. check exits with 1 when a result differs.\n";

std::string quoted(const std::string& s) {
  std::string q = "\"";
  for (const char c : s) {
    if (c == '"' || c == '\\') q += '\\';
    q += static_cast<unsigned char>(c) < 0x20 ? ' ' : c;
  }
  return q + "\"";
}

std::string number(double v) {
  if (!std::isfinite(v)) return "null";
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", v);
  return text;
}

int fail(const std::string& where, const std::string& what) {
  std::printf("{\"case\": %s, \"outcome\": \"failed\", \"message\": %s}\n", quoted(where).c_str(),
              quoted(what).c_str());
  return 1;
}

Result<std::vector<char>> read_file(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return Status(StatusCode::io_error, path + ": cannot be opened");
  return std::vector<char>(std::istreambuf_iterator<char>(file), {});
}

/// A case with its program and its elements, ready to run.
struct Loaded {
  Case c;
  std::vector<char> data;
  Model model;
  std::vector<Tensor> inputs;
};

/// `batch`, when positive, takes the place of the first extent of every generated input.
Result<Loaded> load(const std::string& folder, int64_t batch) {
  Loaded l;
  Result<Case> c = read_case(folder);
  if (!c.ok()) return c.status();
  l.c = std::move(c).value();
  Result<std::vector<char>> data = read_file(folder + "/data.bin");
  if (!data.ok()) return data.status();
  l.data = std::move(data).value();
  Result<Model> model = Model::load(folder + "/program.tt");
  if (!model.ok()) return model.status();
  l.model = std::move(model).value();
  for (const Input& i : l.c.inputs) {
    std::vector<int64_t> dims = i.dims;
    if (i.seed) {
      if (batch > 0 && !dims.empty()) dims[0] = batch;
      l.inputs.push_back(random_elements(i.dtype, dims, *i.seed));
      continue;
    }
    Tensor t = Tensor::empty(i.dtype, dims);
    if (i.offset > l.data.size() || t.bytes() > l.data.size() - i.offset)
      return Status(StatusCode::corrupt_file, folder + "/data.bin is too short");
    if (t.bytes() > 0) std::memcpy(t.mutable_data(), l.data.data() + i.offset, t.bytes());
    l.inputs.push_back(t);
  }
  return l;
}

struct Worst {
  double error = 0;  ///< by the scale of the tensor
  std::string what;
  bool ok = true;
};

/// |got - want| <= tolerance * scale for floats; everything else has to be equal. NaN equals NaN.
void compare(const Expectation& e, const Tensor& got, const std::vector<char>& data, Worst& worst) {
  const auto differs = [&](double error, const std::string& what) {
    if (worst.ok || error > worst.error) worst = {error, e.what + ": " + what, false};
  };
  if (got.dtype() != e.dtype || got.dims() != e.dims)
    return differs(HUGE_VAL,
                   "is " + got.type_string() + ", expected " + type_string(e.dtype, e.dims));
  const std::vector<std::byte> sample = sample_of(got);
  if (e.offset > data.size() || sample.size() > data.size() - e.offset)
    return differs(HUGE_VAL, "data.bin is too short");
  const size_t bytes = size_of(e.dtype);
  const std::vector<int64_t> places = sampled(got.size());
  for (size_t i = 0; i < places.size(); ++i) {
    const double g = load_scalar(e.dtype, sample.data() + i * bytes);
    const double w = load_scalar(
        e.dtype, reinterpret_cast<const std::byte*>(data.data() + e.offset) + i * bytes);
    if (g == w || (std::isnan(g) && std::isnan(w))) continue;
    const double error = std::abs(g - w) / std::max(e.scale, 1e-30);
    const bool close = is_float(e.dtype) && error <= tolerance;
    if (!close)
      differs(std::isnan(error) ? HUGE_VAL : error, "element " + std::to_string(places[i]) +
                                                        " is " + number(g) + ", expected " +
                                                        number(w));
    else if (worst.ok && error > worst.error) worst = {error, e.what, true};
  }
}

/// What libraries did of the steps that are written for them, as members of a JSON object.
std::string libraries_of(const Model& model) {
  int done = 0, all = 0;
  std::string problem;
  for (const LibraryUse& use : model.libraries()) {
    ++all;
    if (use.problem.empty()) ++done;
    else problem = use.library + ": " + use.problem;
  }
  if (all == 0) return "";
  return ", \"library_steps\": " + std::to_string(all) + ", \"done\": " + std::to_string(done) +
         (problem.empty() ? "" : ", \"library_problem\": " + quoted(problem));
}

int check_case(const std::string& folder) {
  Result<Loaded> loaded = load(folder, 0);
  if (!loaded.ok()) return fail(folder, loaded.status().message());
  Loaded& l = loaded.value();
  Result<Session> session = Session::create(l.model);
  if (!session.ok()) return fail(folder, session.status().message());
  Worst worst;
  for (int64_t run = 0; run < l.c.runs; ++run) {
    const auto results = session.value().run(std::span<const Tensor>(l.inputs));
    if (!results.ok()) return fail(folder, results.status().message());
    for (const Expectation& e : l.c.expectations)
      for (size_t i = 0; i < results.value().size(); ++i)
        if (e.what == std::to_string(run) + "/" + l.model.program().outputs[i].name)
          compare(e, results.value()[i], l.data, worst);
  }
  for (const Expectation& e : l.c.expectations) {
    if (!e.what.starts_with("state/")) continue;
    const Result<Tensor> state = session.value().states()->get(e.what.substr(6));
    if (!state.ok()) return fail(folder, state.status().message());
    compare(e, state.value(), l.data, worst);
  }
  if (!worst.ok) return fail(folder, worst.what + " (error / scale " + number(worst.error) + ")");
  std::printf("{\"case\": %s, \"outcome\": \"passed\", \"error\": %s, \"where\": %s%s}\n",
              quoted(folder).c_str(), number(worst.error).c_str(), quoted(worst.what).c_str(),
              libraries_of(l.model).c_str());
  return 0;
}

int bench_case(const std::string& folder, double seconds, int64_t batch) {
  Result<Loaded> loaded = load(folder, batch);
  if (!loaded.ok()) return fail(folder, loaded.status().message());
  const Loaded& l = loaded.value();
  Result<Session> session = Session::create(l.model);
  if (!session.ok()) return fail(folder, session.status().message());
  using Clock = std::chrono::steady_clock;
  const auto since = [](Clock::time_point t) {
    return std::chrono::duration<double>(Clock::now() - t).count();
  };
  constexpr size_t kWarm = 3;
  std::vector<double> times;
  for (const auto begin = Clock::now(); times.size() < 2 * kWarm || since(begin) < seconds;) {
    const auto start = Clock::now();
    const auto results = session.value().run(std::span<const Tensor>(l.inputs));
    if (!results.ok()) return fail(folder, results.status().message());
    times.push_back(1e3 * since(start));
  }
  times.erase(times.begin(), times.begin() + kWarm);
  std::sort(times.begin(), times.end());
  const auto memory = l.model.memory(std::span<const Tensor>(l.inputs));
  if (!memory.ok()) return fail(folder, memory.status().message());
  const auto streams = l.model.streams(std::span<const Tensor>(l.inputs));
  if (!streams.ok()) return fail(folder, streams.status().message());
  const MemoryReport& m = memory.value();
  std::printf(
      "{\"case\": %s, \"batch\": %lld, \"median_ms\": %s, \"least_ms\": %s, \"runs\": %zu, "
      "\"device_mb\": %s, \"streams\": %d, \"waits\": %zu%s}\n",
      quoted(folder).c_str(), static_cast<long long>(batch),
      number(times[times.size() / 2]).c_str(), number(times.front()).c_str(), times.size(),
      number(1e-6 * static_cast<double>(m.device_arena + m.device_constants + m.device_states))
          .c_str(),
      streams.value().streams, streams.value().waits, libraries_of(l.model).c_str());
  return 0;
}

int device() {
  const auto opened = CudaDevice::open();
  if (!opened.ok()) return fail("device", opened.status().message());
  int version = 0;
  if (Status s = opened.value()->check(opened.value()->driver().driver_version(&version),
                                       "cuDriverGetVersion");
      !s.ok())
    return fail("device", s.message());
  std::printf("{\"device\": %s, \"capability\": %d, \"cuda\": \"%d.%d\"}\n",
              quoted(opened.value()->name()).c_str(), opened.value()->capability(), version / 1000,
              version % 1000 / 10);
  return 0;
}

/// The number behind an option; says what is wrong when there is none, or one below `least`.
std::optional<double> number_of(const std::string& option, const std::string& text, double least) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  if (error == std::errc() && rest == end && value >= least && std::isfinite(value)) return value;
  std::fprintf(stderr, "tintype-check: %s: expected a number of at least %g, got '%s'\n",
               option.c_str(), least, text.c_str());
  return std::nullopt;
}

int main_with(const std::vector<std::string>& arguments) {
  const std::string command = arguments.empty() ? "" : arguments[0];
  double seconds = 2;
  int64_t batch = 0;
  std::vector<std::string> cases;
  for (size_t i = 1; i < arguments.size(); ++i) {
    const std::string& option = arguments[i];
    const bool known = command == "bench"   ? option == "--seconds" || option == "--batch"
                       : command == "check" ? option == "--tolerance"
                                            : false;
    if (!known) {
      cases.push_back(option);
      continue;
    }
    const std::string text = i + 1 < arguments.size() ? arguments[++i] : "";
    const std::optional<double> value = number_of(option, text, option == "--batch" ? 1 : 0);
    if (!value) return 2;
    if (option == "--seconds") seconds = *value;
    else if (option == "--batch") batch = static_cast<int64_t>(*value);
    else tolerance = *value;
  }
  if (command == "device" && cases.empty()) return device();
  if ((command != "check" && command != "bench") || cases.empty()) {
    std::fputs(kUsage, stderr);
    return 2;
  }
  int code = 0;
  for (const std::string& c : cases) {
    code |= command == "check" ? check_case(c) : bench_case(c, seconds, batch);
    std::fflush(stdout);
  }
  return code;
}

}  // namespace

}  // namespace tintype::check

int main(int argc, char** argv) {
  try {
    return tintype::check::main_with({argv + 1, argv + argc});
  } catch (const std::exception& e) {
    std::fprintf(stderr, "tintype-check: %s\n", e.what());
    return 2;
  }
}
