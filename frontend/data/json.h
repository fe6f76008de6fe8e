// JSON of files that anyone may have written, and for files that anyone may read.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace tintype {

/// How deep lists and objects may lie in each other. What works on a value (printing, copying,
/// comparing) recurses, and a file of a few megabytes could be as deep as it is long.
inline constexpr int kMostJsonDepth = 100;

class JsonTooDeep : public nlohmann::json::exception {
 public:
  JsonTooDeep() : exception(101, "lists and objects lie more than 100 deep in each other") {}
};

/// What is wrong with a JSON text, without the library's number for it: "parse error at line 1,
/// column 7: ...".
inline std::string fault_of(const nlohmann::json::exception& e) {
  const std::string what = e.what();
  const size_t end = what.starts_with("[json.exception.") ? what.find("] ") : std::string::npos;
  return end == std::string::npos ? what : what.substr(end + 2);
}

/// Parses a text or a stream. Throws exceptions of nlohmann::json, which JsonTooDeep is one of.
template <typename Json = nlohmann::json, typename Input>
Json parse_json(Input&& input) {
  return Json::parse(std::forward<Input>(input), [](int depth, auto, Json&) {
    if (depth > kMostJsonDepth) throw JsonTooDeep();
    return true;
  });
}

/// The same for who asks of what is wrong no more than that: a discarded value then.
template <typename Json = nlohmann::json, typename Input>
Json parse_json_or_discard(Input&& input) {
  try {
    return parse_json<Json>(std::forward<Input>(input));
  } catch (const nlohmann::json::exception&) {
    return Json(nlohmann::json::value_t::discarded);
  }
}

/// The text of a value, in lines, with the last one ended. Names that are not UTF-8 lose their
/// strange bytes; the library would refuse them.
template <typename Json>
std::string json_text(const Json& value, int indent = 1) {
  return value.dump(indent, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace tintype
