// A hand-written scanner: one pass, no look-back.
#include "frontend/data/csv_rows.h"

#include "frontend/data/data_error.h"

#include <algorithm>
#include <charconv>
#include <cmath>

namespace tintype {

namespace {

constexpr std::string_view kByteOrderMark = "\xef\xbb\xbf";

char likeliest_delimiter(std::string_view text) {
  const std::string_view first = text.substr(0, std::min(text.find_first_of("\r\n"), text.size()));
  char best = ',';
  for (const char c : {';', '\t'})
    if (std::count(first.begin(), first.end(), c) > std::count(first.begin(), first.end(), best))
      best = c;
  return best;
}

}  // namespace

CsvRows::CsvRows(std::string_view text, char delimiter, std::string path)
    : text_(text), delimiter_(delimiter), path_(std::move(path)) {
  if (text_.starts_with(kByteOrderMark)) text_.remove_prefix(kByteOrderMark.size());
  if (delimiter_ == '\0') delimiter_ = likeliest_delimiter(text_);
}

void CsvRows::skip_line_end() {
  if (at_ < text_.size() && text_[at_] == '\r') ++at_;
  if (at_ < text_.size() && text_[at_] == '\n') ++at_;
  ++line_;
}

bool CsvRows::next(std::vector<std::string>& cells) {
  while (at_ < text_.size() && at_line_end()) skip_line_end();
  if (at_ == text_.size()) return false;
  line_of_row_ = line_;
  cells.clear();
  cells.push_back(cell());
  while (!at_line_end()) {
    ++at_;  // the delimiter
    cells.push_back(cell());
  }
  if (at_ < text_.size()) skip_line_end();
  return true;
}

std::string CsvRows::cell() {
  if (at_ < text_.size() && text_[at_] == '"') return quoted_cell();
  const size_t start = at_;
  while (!at_line_end() && text_[at_] != delimiter_) ++at_;
  return std::string(text_.substr(start, at_ - start));
}

std::string CsvRows::quoted_cell() {
  const int64_t opened = line_;
  std::string content;
  for (++at_; at_ < text_.size(); ++at_) {
    if (text_[at_] == '"') {
      if (at_ + 1 == text_.size() || text_[at_ + 1] != '"') break;
      ++at_;  // two quotes stand for one
    }
    if (text_[at_] == '\n') ++line_;
    content += text_[at_];
  }
  if (at_ == text_.size())
    throw DataError(path_, "line " + std::to_string(opened) + ": a quote opens and never closes");
  ++at_;
  if (!at_line_end() && text_[at_] != delimiter_)
    throw DataError(path_, "line " + std::to_string(line_) +
                               ": expected the end of the cell after the closing quote");
  return content;
}

std::optional<double> number_in(std::string_view cell) {
  while (!cell.empty() && (cell.front() == ' ' || cell.front() == '\t')) cell.remove_prefix(1);
  while (!cell.empty() && (cell.back() == ' ' || cell.back() == '\t')) cell.remove_suffix(1);
  if (cell.starts_with('+') && !cell.starts_with("+-")) cell.remove_prefix(1);
  double value = 0;
  const auto [end, code] = std::from_chars(cell.data(), cell.data() + cell.size(), value);
  if (code != std::errc() || end != cell.data() + cell.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

}  // namespace tintype
