// Reading and writing "name,key=value,...".
#include "frontend/train/spec.h"

#include <algorithm>
#include <charconv>

namespace tintype {

namespace {

template <typename T>
bool read_number(std::string_view text, T& value) {
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  return error == std::errc() && stop == end;
}

/// The shortest text that reads back as the same number.
std::string text_of_number(double value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::vector<std::string_view> split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t start = 0; start <= text.size();) {
    const size_t end = std::min(text.find(separator, start), text.size());
    parts.push_back(text.substr(start, end - start));
    start = end + 1;
  }
  return parts;
}

}  // namespace

SpecReader::SpecReader(std::string_view text, std::string what) : what_(std::move(what)) {
  const size_t end = std::min(text.find(','), text.size());
  name_ = text.substr(0, end);
  if (name_.empty())
    throw Error(what_ + ": expected NAME[,KEY=VALUE...], got '" + std::string(text) + "'");
  what_ += " '" + name_ + "'";
  if (end < text.size()) read_values(text.substr(end + 1));
}

SpecReader SpecReader::without_name(std::string_view text, std::string what) {
  SpecReader reader;
  reader.what_ = std::move(what);
  reader.read_values(text);
  return reader;
}

void SpecReader::read_values(std::string_view text) {
  for (const std::string_view part : split(text, ',')) {
    const size_t at = part.find('=');
    if (at == std::string_view::npos || at == 0) {
      if (!no_value_) no_value_ = part;
      continue;
    }
    const auto [entry, is_new] = values_.emplace(part.substr(0, at), part.substr(at + 1));
    if (!is_new) throw Error(what_ + ": '" + entry->first + "' is given twice");
  }
}

const std::string* SpecReader::take(std::string_view key) {
  known_.emplace_back(key);
  const auto it = values_.find(key);
  return it == values_.end() ? nullptr : &it->second;
}

void SpecReader::wrong(std::string_view key, std::string_view expected) const {
  throw Error(what_ + ": " + std::string(key) + " expects " + std::string(expected) + ", got '" +
              values_.find(key)->second + "'");
}

void SpecReader::operator()(std::string_view key, double& field) {
  if (const std::string* v = take(key); v != nullptr && !read_number(*v, field))
    wrong(key, "a number");
}

void SpecReader::operator()(std::string_view key, int64_t& field) {
  if (const std::string* v = take(key); v != nullptr && !read_number(*v, field))
    wrong(key, "an integer");
}

void SpecReader::operator()(std::string_view key, bool& field) {
  const std::string* v = take(key);
  if (v == nullptr) return;
  if (*v == "1" || *v == "true") field = true;
  else if (*v == "0" || *v == "false") field = false;
  else wrong(key, "0 or 1");
}

void SpecReader::operator()(std::string_view key, std::string& field) {
  if (const std::string* v = take(key)) field = *v;
}

void SpecReader::operator()(std::string_view key, std::optional<int64_t>& field) {
  int64_t value = 0;
  const std::string* v = take(key);
  if (v == nullptr) return;
  if (!read_number(*v, value)) wrong(key, "an integer");
  field = value;
}

void SpecReader::operator()(std::string_view key, std::vector<int64_t>& field) {
  const std::string* v = take(key);
  if (v == nullptr) return;
  field.clear();
  for (const std::string_view part : split(*v, ':')) {
    int64_t value = 0;
    if (!read_number(part, value)) wrong(key, "integers separated by ':'");
    field.push_back(value);
  }
}

void SpecReader::finish() const {
  std::string known = known_.empty() ? "; it has none" : "; known are ";
  for (const std::string& k : known_) known += (&k == known_.data() ? "" : ", ") + k;
  if (no_value_) throw Error(what_ + ": expected KEY=VALUE, got '" + *no_value_ + "'" + known);
  for (const auto& [key, value] : values_)
    if (std::find(known_.begin(), known_.end(), key) == known_.end())
      throw Error(what_ + " has no option '" + key + "'" + did_you_mean(key, known_) + known);
}

void SpecWriter::operator()(std::string_view key, const double& field) {
  text_ += "," + std::string(key) + "=" + text_of_number(field);
}

void SpecWriter::operator()(std::string_view key, const int64_t& field) {
  text_ += "," + std::string(key) + "=" + std::to_string(field);
}

void SpecWriter::operator()(std::string_view key, const bool& field) {
  text_ += "," + std::string(key) + (field ? "=1" : "=0");
}

void SpecWriter::operator()(std::string_view key, const std::string& field) {
  text_ += "," + std::string(key) + "=" + field;
}

void SpecWriter::operator()(std::string_view key, const std::optional<int64_t>& field) {
  if (field) (*this)(key, *field);
}

void SpecWriter::operator()(std::string_view key, const std::vector<int64_t>& field) {
  std::string list;
  for (int64_t v : field) list += (list.empty() ? "" : ":") + std::to_string(v);
  text_ += "," + std::string(key) + "=" + list;
}

}  // namespace tintype
