// CSV text cut into rows and cells (RFC 4180; also ';' or tab, and any line end).
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace tintype {

class CsvRows {
 public:
  /// `delimiter` 0: the one of ',', ';' and tab that is most frequent in the first row.
  CsvRows(std::string_view text, char delimiter, std::string path);

  /// The next row that is not empty; false at the end. Throws DataError naming path and line when
  /// quotes do not match.
  bool next(std::vector<std::string>& cells);
  /// Line of the row that next() returned, counted from 1.
  int64_t line() const { return line_of_row_; }

 private:
  std::string cell();
  std::string quoted_cell();
  bool at_line_end() const {
    return at_ == text_.size() || text_[at_] == '\n' || text_[at_] == '\r';
  }
  void skip_line_end();

  std::string_view text_;
  char delimiter_;
  std::string path_;
  size_t at_ = 0;
  int64_t line_ = 1, line_of_row_ = 0;
};

/// The finite number that a cell holds, blanks around it left out; nothing if it is anything else.
std::optional<double> number_in(std::string_view cell);

}  // namespace tintype
