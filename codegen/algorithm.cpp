// The text of an algorithm, in both directions.
#include "codegen/algorithm.h"

#include <charconv>
#include <sstream>
#include <utility>
#include <vector>

namespace tintype {

namespace {

using Kind = Algorithm::Kind;

constexpr std::pair<std::string_view, Kind> kNames[] = {
    {"plain", Kind::plain},       {"amx", Kind::amx},
    {"packed", Kind::packed},     {"winograd fused", Kind::winograd_fused},  // before its beginning
    {"winograd", Kind::winograd}, {"patches", Kind::patches},
    {"wide", Kind::wide},         {"library", Kind::library},
};

bool has_form(Kind k) { return k == Kind::winograd || k == Kind::winograd_fused; }

/// Takes `word` and a space behind it off the front.
bool take(std::string_view& text, std::string_view word) {
  if (!text.starts_with(word)) return false;
  const std::string_view rest = text.substr(word.size());
  if (!rest.empty() && rest.front() != ' ') return false;
  text = rest.empty() ? rest : rest.substr(1);
  return true;
}

bool take_number(std::string_view& text, int64_t& value) {
  constexpr int64_t kMost = 1 << 20;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value < 1 || value > kMost) return false;
  text.remove_prefix(static_cast<size_t>(end - text.data()));
  if (text.starts_with(' ')) text.remove_prefix(1);
  return true;
}

}  // namespace

std::string Algorithm::text() const {
  std::ostringstream s;
  for (const auto& [name, k] : kNames)
    if (k == kind) s << name;
  if (has_form(kind)) s << " f" << form.m << (form.zero_margins ? " zero margins" : "");
  if (kind == Kind::wide) s << " " << positions;
  if (panel > 0) s << " " << panel;
  return s.str();
}

bool Algorithm::same_family(const Algorithm& other) const {
  return kind == other.kind && form.m == other.form.m &&
         form.zero_margins == other.form.zero_margins && positions == other.positions &&
         (panel > 0) == (other.panel > 0);
}

bool Algorithm::operator==(const Algorithm& other) const {
  return same_family(other) && panel == other.panel;
}

std::optional<Algorithm> parse_algorithm(std::string_view text) {
  Algorithm a;
  const std::string_view whole = text;
  bool found = false;
  for (const auto& [name, kind] : kNames) {
    if (found || !take(text, name)) continue;
    a.kind = kind;
    found = true;
  }
  if (!found) return std::nullopt;
  if (has_form(a.kind)) {
    if (!text.starts_with("f")) return std::nullopt;
    text.remove_prefix(1);
    if (!take_number(text, a.form.m)) return std::nullopt;
    a.form.zero_margins = take(text, "zero margins");
  }
  if (a.kind == Kind::wide && !take_number(text, a.positions)) return std::nullopt;
  if (!text.empty() && !take_number(text, a.panel)) return std::nullopt;
  return a.text() == whole ? std::optional(a) : std::nullopt;
}

}  // namespace tintype
