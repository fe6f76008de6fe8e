// Element-wise comparison, and the ONNX suite's way of storing test cases.
#include "tools/driver/compare.h"

#include "frontend/onnx/tensor_file.h"
#include "ir/diagnostic.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace tintype {

namespace fs = std::filesystem;

Comparison compare_tensors(const Tensor& got, const Tensor& want, double rtol, double atol) {
  Comparison c;
  if (got.dtype() != want.dtype() || got.dims() != want.dims()) {
    c.ok = false;
    c.message = "got " + got.type_string() + ", expected " + want.type_string();
    return c;
  }
  // bfloat16 has 8 bits of precision; ONNX's own runner allows 2^-6.
  if (want.dtype() == DType::bf16) rtol = std::max(rtol, 1.0 / 64);
  for (int64_t i = 0; i < want.size(); ++i) {
    const double g = element_as_double(got, i);
    const double w = element_as_double(want, i);
    if (std::isfinite(w)) c.scale = std::max(c.scale, std::abs(w));
    if ((std::isnan(g) && std::isnan(w)) || g == w) continue;
    const double error = std::abs(g - w);
    if (!(error <= c.max_error)) c.max_error = error;
    if (error <= atol + rtol * std::abs(w) && std::isfinite(w)) continue;
    if (c.ok)
      c.message = "element " + std::to_string(i) + " of " + want.type_string() + " is " +
                  std::to_string(g) + ", expected " + std::to_string(w);
    c.ok = false;
  }
  return c;
}

namespace {

struct Tolerance {
  double rtol = 1e-3, atol = 1e-7;
};

Tolerance tolerance_of(const fs::path& folder, const VerifyOptions& options) {
  Tolerance t;
  if (std::ifstream file(folder / "data.json"); file) {
    const auto json = nlohmann::json::parse(file, nullptr, false);
    if (json.is_object()) {
      t.rtol = json.value("rtol", t.rtol);
      t.atol = json.value("atol", t.atol);
    }
  }
  if (options.rtol >= 0) t.rtol = options.rtol;
  if (options.atol >= 0) t.atol = options.atol;
  return t;
}

std::vector<Tensor> load_all(const fs::path& set, const std::string& stem) {
  std::vector<Tensor> list;
  for (int i = 0;; ++i) {
    const fs::path file = set / (stem + "_" + std::to_string(i) + ".pb");
    if (!fs::exists(file)) return list;
    list.push_back(load_tensor_proto(file.string()));
  }
}

/// Compiles, supplying the values of inputs that decide shapes.
CompiledModel compile_for(const std::string& path, CompileOptions options,
                          const std::vector<std::string>& names,
                          const std::vector<Tensor>& inputs) {
  for (size_t attempt = 0;; ++attempt) {
    try {
      return compile_model(path, options);
    } catch (const NeedsInputValue& e) {
      const auto at =
          static_cast<size_t>(std::find(names.begin(), names.end(), e.input()) - names.begin());
      if (at >= names.size() || at >= inputs.size() || attempt > names.size()) throw;
      options.import.known_inputs[e.input()] = inputs[at];
    }
  }
}

std::string run_set(const fs::path& model, const fs::path& set,
                    const std::vector<std::string>& names, const VerifyOptions& options,
                    const Tolerance& t) {
  const std::vector<Tensor> inputs = load_all(set, "input");
  const std::vector<Tensor> expected = load_all(set, "output");
  const CompiledModel compiled = compile_for(model.string(), options.compile, names, inputs);
  std::map<std::string, Tensor> by_name;
  for (const Port& p : compiled.model.program().inputs) {
    const auto at =
        static_cast<size_t>(std::find(names.begin(), names.end(), p.name) - names.begin());
    if (at < inputs.size()) by_name[p.name] = inputs[at];
  }
  const auto results = compiled.model.run(by_name, options.run);
  if (!results.ok()) throw Error(results.status().message());
  if (results.value().size() < expected.size())
    return "got " + std::to_string(results.value().size()) + " outputs, expected " +
           std::to_string(expected.size());
  for (size_t i = 0; i < expected.size(); ++i) {
    const Comparison c = compare_tensors(results.value()[i], expected[i], t.rtol, t.atol);
    if (!c.ok) return "output " + compiled.model.program().outputs[i].name + ": " + c.message;
  }
  return "";
}

}  // namespace

CaseResult verify_case(const std::string& folder, const VerifyOptions& options) {
  CaseResult result;
  result.folder = folder;
  try {
    const fs::path model = fs::path(folder) / "model.onnx";
    if (!fs::exists(model)) throw Error(folder + ": has no model.onnx");
    const std::vector<std::string> names = onnx_input_names(model.string());
    const Tolerance t = tolerance_of(folder, options);
    std::vector<fs::path> sets;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set_"))
        sets.push_back(entry.path());
    std::sort(sets.begin(), sets.end());
    if (sets.empty()) throw Error(folder + ": has no test_data_set_* folder");
    for (const fs::path& set : sets) {
      result.message = run_set(model, set, names, options, t);
      if (result.message.empty()) continue;
      result.outcome = CaseOutcome::mismatch;
      return result;
    }
  } catch (const Error& e) {
    result.outcome = CaseOutcome::refused;
    result.message = e.what();
  } catch (const std::exception& e) {
    result.outcome = CaseOutcome::failed;
    result.message = e.what();
  }
  return result;
}

}  // namespace tintype
