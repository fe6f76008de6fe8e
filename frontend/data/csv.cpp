// CSV files: a row per sample, one column the target.
#include "frontend/data/csv_rows.h"
#include "frontend/data/data_error.h"
#include "frontend/data/readers.h"
#include "runtime/nearest_name.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <map>
#include <set>

namespace tintype {

namespace {

/// Class numbers in files are taken as they are; above this they are more likely measurements.
constexpr double kMostClasses = 100000;

/// Rows of the file in memory: numbers of the inputs, text of the targets.
struct Table {
  std::vector<std::string> names;  ///< of the columns; "3" where there is no header
  bool header = false;
  size_t columns = 0, target = 0;  ///< target == columns: none
  std::vector<float> inputs;
  std::vector<std::string> targets;
  int64_t rows = 0, first_line = 0;
};

bool is_header(const std::vector<std::string>& first, const std::vector<std::string>* second) {
  for (size_t i = 0; i < first.size(); ++i)
    if (!number_in(first[i]) && second != nullptr && i < second->size() && number_in((*second)[i]))
      return true;
  return false;
}

size_t find_target(const Table& table, bool header, const OpenOptions& options,
                   const std::string& path) {
  if (options.label == "none") return table.columns;
  for (const std::string& name : {options.target_name, options.label}) {
    const auto named = std::find(table.names.begin(), table.names.end(), name);
    if (header && named != table.names.end())
      return static_cast<size_t>(named - table.names.begin());
  }
  int64_t number = 0;
  const char* end = options.label.data() + options.label.size();
  const auto [stop, code] = std::from_chars(options.label.data(), end, number);
  if (code != std::errc() || stop != end) {
    const std::string near = nearest_name(options.label, table.names);
    throw DataError(path, header ? "there is no column '" + options.label + "'" +
                                       (near.empty() ? "" : " (did you mean '" + near + "'?)")
                                 : "has no header that could name column '" + options.label +
                                       "'; give its number");
  }
  const auto columns = static_cast<int64_t>(table.columns);
  const int64_t at = number < 0 ? number + columns : number;
  if (at < 0 || at >= columns)
    throw DataError(path, "there is no column " + options.label + "; the file has " +
                              std::to_string(columns) + " columns, counted from 0");
  return static_cast<size_t>(at);
}

void add_row(Table& table, std::vector<std::string>& cells, int64_t line, const std::string& path) {
  if (cells.size() != table.columns)
    throw DataError(path, fmt::format("line {}: expected {} cells as in line {}, found {}", line,
                                      table.columns, table.first_line, cells.size()));
  for (size_t i = 0; i < cells.size(); ++i) {
    if (i == table.target) {
      table.targets.push_back(std::move(cells[i]));
      continue;
    }
    const std::optional<double> value = number_in(cells[i]);
    if (!value || std::abs(*value) > std::numeric_limits<float>::max())
      throw DataError(path, fmt::format("line {}, column '{}': expected a number, found '{}'", line,
                                        table.names[i], cells[i].substr(0, 40)));
    table.inputs.push_back(static_cast<float>(*value));
  }
  ++table.rows;
}

Table read_table(const Bytes& bytes, const std::string& path, const OpenOptions& options) {
  const std::string_view text(reinterpret_cast<const char*>(bytes.data.data()), bytes.data.size());
  CsvRows rows(text, options.delimiter, path);
  std::vector<std::string> first, cells;
  if (!rows.next(first)) throw DataError(path, "holds no rows");
  Table table;
  table.columns = first.size();
  table.first_line = rows.line();
  const bool more = rows.next(cells);
  const bool header = options.header == "yes" ||
                      (options.header == "auto" && is_header(first, more ? &cells : nullptr));
  for (size_t i = 0; i < first.size(); ++i)
    table.names.push_back(header ? first[i] : std::to_string(i));
  table.header = header;
  table.target = find_target(table, header, options, path);
  if (!header) add_row(table, first, table.first_line, path);
  for (bool valid = more; valid; valid = rows.next(cells)) add_row(table, cells, rows.line(), path);
  if (table.rows == 0) throw DataError(path, "holds no rows but the header");
  if (table.inputs.empty()) throw DataError(path, "has no columns but the target");
  return table;
}

std::vector<std::string> input_names(const Table& table) {
  std::vector<std::string> names;
  for (size_t i = 0; table.header && i < table.columns; ++i)
    if (i != table.target) names.push_back(table.names[i]);
  return names;
}

/// Puts the inputs in the order of these names.
void order_inputs(Table& table, const std::vector<std::string>& wanted, const std::string& path) {
  const std::vector<std::string> found = input_names(table);
  if (wanted.empty() || found.empty() || found == wanted) return;
  std::vector<size_t> from;
  for (const std::string& name : wanted)
    from.push_back(static_cast<size_t>(std::ranges::find(found, name) - found.begin()));
  if (found.size() != wanted.size() || std::ranges::count(from, found.size()) > 0)
    throw DataError(path, fmt::format("the columns of inputs are {}; expected {}",
                                      fmt::join(found, ", "), fmt::join(wanted, ", ")));
  std::vector<float> row(wanted.size());
  for (auto at = table.inputs.begin(); at != table.inputs.end(); at += std::ssize(row)) {
    for (size_t i = 0; i < row.size(); ++i) row[i] = at[static_cast<std::ptrdiff_t>(from[i])];
    std::ranges::copy(row, at);
  }
}

struct Targets {
  Column column;
  std::vector<std::string> class_names;
  bool named = false;  ///< the texts are names of classes
};

Column value_targets(const std::vector<std::string>& texts, const std::string& path) {
  Tensor values = Tensor::empty(DType::f32, {static_cast<int64_t>(texts.size()), 1});
  for (size_t i = 0; i < texts.size(); ++i) {
    const std::optional<double> value = number_in(texts[i]);
    if (!value)
      throw DataError(path, "sample " + std::to_string(i) +
                                ": expected a number as target, found '" + texts[i].substr(0, 40) +
                                "'");
    values.mutable_values<float>()[i] = static_cast<float>(*value);
  }
  return {"target", std::move(values), false};
}

/// Names sorted as numbers where all of them are.
std::vector<std::string> sorted_names(const std::vector<std::string>& texts) {
  const std::set<std::string> distinct(texts.begin(), texts.end());
  std::vector<std::string> names(distinct.begin(), distinct.end());
  if (std::all_of(names.begin(), names.end(), [](const auto& n) { return number_in(n); }))
    std::stable_sort(names.begin(), names.end(), [](const std::string& a, const std::string& b) {
      return *number_in(a) < *number_in(b);
    });
  return names;
}

Targets named_targets(const std::vector<std::string>& texts, std::vector<std::string> names,
                      const std::string& path) {
  if (names.empty()) names = sorted_names(texts);
  Tensor labels = Tensor::empty(DType::i64, {static_cast<int64_t>(texts.size())});
  std::map<std::string, int64_t> numbers;
  for (size_t i = 0; i < names.size(); ++i) numbers[names[i]] = static_cast<int64_t>(i);
  for (size_t i = 0; i < texts.size(); ++i) {
    const auto found = numbers.find(texts[i]);
    if (found == numbers.end())
      throw DataError(path, "sample " + std::to_string(i) + ": '" + texts[i].substr(0, 40) +
                                "' is none of the " + std::to_string(names.size()) + " classes");
    labels.mutable_values<int64_t>()[i] = found->second;
  }
  return {{"target", std::move(labels), true}, std::move(names), true};
}

/// Whole numbers from 0 are class numbers as they stand, so that a file that lacks a class agrees
/// with one that has it. Other targets are names, and so are numbers that are names of classes.
Targets targets_of(const Table& table, const std::string& path, const OpenOptions& options) {
  bool numbers = true, whole = true, classes = true;
  for (const std::string& text : table.targets) {
    const std::optional<double> value = number_in(text);
    numbers = numbers && value;
    whole = whole && value && *value == std::floor(*value);
    classes = classes && value && *value >= 0 && *value < kMostClasses;
  }
  if (options.task == "values" || (options.task == "auto" && numbers && !whole))
    return {value_targets(table.targets, path), {}};
  const std::vector<std::string>& known = options.class_names;
  const bool all_known = !known.empty() && std::ranges::all_of(table.targets, [&](const auto& t) {
    return std::ranges::find(known, t) != known.end();
  });
  if (!whole || !classes || all_known)
    return named_targets(table.targets, options.class_names, path);
  Tensor labels = Tensor::empty(DType::i64, {table.rows});
  for (size_t i = 0; i < table.targets.size(); ++i)
    labels.mutable_values<int64_t>()[i] = static_cast<int64_t>(*number_in(table.targets[i]));
  return {{"target", std::move(labels), true}, options.class_names};
}

}  // namespace

DataSource read_csv(const Bytes& bytes, const std::string& path, const OpenOptions& options) {
  Table table = read_table(bytes, path, options);
  order_inputs(table, options.input_names, path);
  DataSource source = {nullptr, nullptr, "CSV", input_names(table)};
  const auto columns = static_cast<int64_t>(table.inputs.size()) / table.rows;
  Column input =
      input_column(Tensor::from<float>({table.rows, columns}, std::span<const float>(table.inputs)),
                   options, path);
  if (table.target == table.columns) {
    source.training = dataset_of(std::move(input), std::nullopt, path);
    return source;
  }
  if (table.header) source.target_name = table.names[table.target];
  Targets targets = targets_of(table, path, options);
  source.named_classes = targets.named;
  source.training =
      dataset_of(std::move(input), std::move(targets.column), path, std::move(targets.class_names));
  return source;
}

}  // namespace tintype
