// Element-wise comparison, and the ONNX suite's way of storing test cases.
#include "tools/driver/compare.h"

#include "frontend/data/json.h"
#include "frontend/onnx/stored_case.h"
#include "ir/diagnostic.h"
#include "runtime/scalar.h"
#include "tools/driver/data_files.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>

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
    const auto json = parse_json_or_discard(file);
    const auto read = [&](const char* name, double& value) {
      if (!json.is_object() || (json.contains(name) && !json[name].is_number()))
        throw Error((folder / "data.json").string() + ": expected a JSON object with numbers rtol "
                                                      "and atol");
      value = json.value(name, value);
    };
    read("rtol", t.rtol);
    read("atol", t.atol);
  }
  if (options.rtol >= 0) t.rtol = options.rtol;
  if (options.atol >= 0) t.atol = options.atol;
  return t;
}

/// Compiles, supplying what decides shapes and lengths.
CompiledModel compile_for(const std::string& path, CompileOptions options,
                          const StoredCase& stored) {
  for (;;) {
    try {
      return compile_model(path, options);
    } catch (const NeedsInputValue& e) {
      if (!stored.supply(e.input(), options.import)) throw;
    }
  }
}

std::string run_set(const fs::path& model, const fs::path& set, const ModelInterface& interface,
                    const VerifyOptions& options, const Tolerance& t) {
  const StoredCase stored = load_stored_case(interface, set.string());
  const CompiledModel compiled = compile_for(model.string(), options.compile, stored);
  std::map<std::string, Tensor> by_name;
  for (const Port& p : compiled.model.program().inputs)
    if (const auto it = stored.inputs.find(p.name); it != stored.inputs.end()) by_name.insert(*it);
  const auto results = compiled.model.run(by_name, options.run);
  if (!results.ok()) throw Error(results.status().message());
  std::map<std::string, size_t> at;
  for (size_t i = 0; i < results.value().size(); ++i)
    at.emplace(compiled.model.program().outputs[i].name, i);
  for (const auto& [name, expected] : stored.outputs) {
    if (at.count(name) == 0) return "output " + name + ": expected " + expected.type_string();
    const Comparison c = compare_tensors(results.value()[at[name]], expected, t.rtol, t.atol);
    if (!c.ok) return "output " + name + ": " + c.message;
    at.erase(name);
  }
  if (!at.empty() && !stored.outputs.empty())
    return "output " + at.begin()->first + " is not expected";
  return "";
}

}  // namespace

CaseResult verify_case(const std::string& folder, const VerifyOptions& options) {
  CaseResult result;
  result.folder = folder;
  try {
    const fs::path model = fs::path(folder) / "model.onnx";
    if (!fs::exists(model)) throw Error(folder + ": has no model.onnx");
    const ModelInterface interface = onnx_interface(model.string());
    const Tolerance t = tolerance_of(folder, options);
    std::vector<fs::path> sets;
    for (const auto& entry : fs::directory_iterator(folder))
      if (entry.is_directory() && entry.path().filename().string().starts_with("test_data_set_"))
        sets.push_back(entry.path());
    std::sort(sets.begin(), sets.end());
    if (sets.empty()) throw Error(folder + ": has no test_data_set_* folder");
    for (const fs::path& set : sets) {
      result.message = run_set(model, set, interface, options, t);
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
