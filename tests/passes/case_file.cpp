// Reading and writing of case files, line by line.
#include "tests/passes/case_file.h"

#include <fstream>
#include <stdexcept>

namespace tintype::test {

void PrintTo(const PassCase& c, std::ostream* out) { *out << c.file << ": case " << c.name; }

std::vector<PassCase> read_cases(const std::string& path) {
  std::ifstream file(path);
  if (!file) throw std::runtime_error(path + ": cannot be read");
  std::vector<PassCase> cases;
  std::string comment;
  bool in_after = false;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with("#")) {
      comment.append(line).append("\n");
    } else if (line.starts_with("case ")) {
      const size_t colon = line.find(": ");
      if (colon == std::string::npos)
        throw std::runtime_error(path + ": a case has no pipeline: " + line);
      PassCase c;
      c.file = path;
      c.name = line.substr(5, colon - 5);
      c.comment = std::move(comment);
      c.pipeline = line.substr(colon + 2);
      comment.clear();
      cases.push_back(std::move(c));
      in_after = false;
    } else if (line == "----") {
      in_after = true;
      if (!cases.empty()) cases.back().has_after = true;
    } else if (!line.empty()) {
      if (cases.empty()) throw std::runtime_error(path + ": text before the first case");
      (in_after ? cases.back().after : cases.back().before).append(line).append("\n");
    }
  }
  return cases;
}

void write_cases(const std::string& path, const std::vector<PassCase>& cases) {
  std::ofstream file(path);
  for (const PassCase& c : cases) {
    if (&c != &cases.front()) file << "\n";
    file << c.comment << "case " << c.name << ": " << c.pipeline << "\n" << c.before;
    if (!c.unchanged()) file << "----\n" << c.after;
  }
}

}  // namespace tintype::test
