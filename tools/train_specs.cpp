// Specs, apart from sizes.
#include "tools/train_specs.h"

#include "frontend/train/spec.h"
#include "tools/command.h"

#include <charconv>
#include <cmath>
#include <fmt/format.h>
#include <limits>

namespace tintype::cli {

namespace {

constexpr double kNone = std::numeric_limits<double>::quiet_NaN();

}  // namespace

ParameterGroup parse_group(const std::string& text) {
  SpecReader reader(text, "--group");
  ParameterGroup group = {.pattern = reader.name()};
  double decay = kNone;
  double max_norm = kNone;
  reader("rate", group.rate_scale);
  reader("weight_decay", decay);
  reader("max_norm", max_norm);
  reader.finish();
  if (!std::isnan(decay)) group.weight_decay = decay;
  if (!std::isnan(max_norm)) group.max_norm = max_norm;
  return group;
}

namespace {

/// Limits, penalties and counts; 0 stands for none.
void require_not_negative(const std::string& what, double value) {
  if (!(value >= 0) || !std::isfinite(value))
    throw UsageError(fmt::format("{} expects a number from 0, got {}", what, value));
}

}  // namespace

Clipping parse_clipping(const std::string& text) {
  Clipping c;
  if (text.empty()) return c;
  SpecReader reader = SpecReader::without_name(text, "--clip");
  reader("value", c.value);
  reader("norm", c.norm);
  reader("global_norm", c.global_norm);
  reader.finish();
  require_not_negative("--clip value", c.value);
  require_not_negative("--clip norm", c.norm);
  require_not_negative("--clip global_norm", c.global_norm);
  return c;
}

void apply_regularizers(const std::string& text, TrainingOptions& options) {
  if (text.empty()) return;
  SpecReader reader = SpecReader::without_name(text, "--regularize");
  reader("l1", options.l1);
  reader("l2", options.l2);
  reader("max_norm", options.max_norm);
  reader.finish();
  require_not_negative("--regularize l1", options.l1);
  require_not_negative("--regularize l2", options.l2);
  require_not_negative("--regularize max_norm", options.max_norm);
}

Averaging parse_averaging(const std::string& text) {
  Averaging a;
  if (text.empty()) return a;
  SpecReader reader(text, "--average");
  if (reader.name() == "ema") {
    a.ema_decay = 0.999;
    reader("decay", a.ema_decay);
    if (!(a.ema_decay >= 0 && a.ema_decay < 1))
      throw UsageError(fmt::format(
          "--average ema: decay expects a number from 0 to below 1, got {}", a.ema_decay));
  } else if (reader.name() == "swa") {
    a.swa_start = 0;
    reader("start", a.swa_start);
    require_not_negative("--average swa: start", static_cast<double>(a.swa_start));
  } else {
    throw UsageError("--average expects ema[,decay=D] or swa[,start=EPOCH], got '" + text + "'");
  }
  reader.finish();
  return a;
}

std::optional<EarlyStopping> parse_early_stopping(const std::string& text) {
  if (text.empty()) return std::nullopt;
  SpecReader reader(text, "--early-stopping");
  EarlyStopping e = {.metric = reader.name(), .patience = 10};
  reader("patience", e.patience);
  reader("min_delta", e.min_delta);
  reader("restore_best", e.restore_best);
  reader.finish();
  require_not_negative("--early-stopping patience", static_cast<double>(e.patience));
  require_not_negative("--early-stopping min_delta", e.min_delta);
  return e;
}

std::optional<RecomputeOptions> parse_recompute(const std::string& text) {
  if (text.empty()) return std::nullopt;
  RecomputeOptions options;
  if (text == "auto") return options;
  double value = 0;
  const char* const end = text.data() + text.size();
  const auto [rest, error] = std::from_chars(text.data(), end, value);
  const std::string_view unit(rest, static_cast<size_t>(end - rest));
  const bool whole = value >= 1 && value < 1e15 && value == std::floor(value);
  if (error == std::errc() && unit.empty() && whole) {
    options.segments = static_cast<int64_t>(value);
    return options;
  }
  constexpr std::pair<std::string_view, double> kUnits[] = {
      {"kB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}};
  for (const auto& [name, factor] : kUnits)
    if (error == std::errc() && unit == name && value > 0 && value * factor < 1e18) {
      options.bytes = std::max<int64_t>(1, std::llround(value * factor));
      return options;
    }
  throw UsageError(
      "--recompute expects auto, a number of segments such as 8, or a size such as 200MB, "
      "got '" +
      text + "'");
}

}  // namespace tintype::cli
