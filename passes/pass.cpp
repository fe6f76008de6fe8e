// Reading of options and reporting of explanations.
#include "passes/pass.h"

#include "ir/diagnostic.h"

#include <algorithm>
#include <charconv>

namespace tintype {

std::string_view PassContext::pass_name() const {
  return pass_ == nullptr ? std::string_view() : pass_->name;
}

const std::string* PassContext::find(std::string_view option) const {
  const auto it = options_.find(std::string(option));
  return it == options_.end() ? nullptr : &it->second;
}

int64_t PassContext::integer(std::string_view option, int64_t fallback) const {
  const std::string* text = find(option);
  if (text == nullptr) return fallback;
  int64_t value = 0;
  const char* end = text->data() + text->size();
  const auto [at, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || at != end)
    throw Error("option '" + std::string(option) + "' of pass '" + std::string(pass_name()) +
                "' must be an integer, got '" + *text + "'");
  return value;
}

bool PassContext::flag(std::string_view option, bool fallback) const {
  const std::string* text = find(option);
  if (text == nullptr) return fallback;
  if (*text == "1" || *text == "true" || *text == "on") return true;
  if (*text == "0" || *text == "false" || *text == "off") return false;
  throw Error("option '" + std::string(option) + "' of pass '" + std::string(pass_name()) +
              "' must be 0 or 1, got '" + *text + "'");
}

std::string PassContext::text(std::string_view option, const std::string& fallback) const {
  const std::string* text = find(option);
  return text == nullptr ? fallback : *text;
}

std::map<std::string, int64_t> PassContext::extents(std::string_view option) const {
  const std::string all = text(option, "");
  std::map<std::string, int64_t> extents;
  for (size_t at = 0; at < all.size();) {
    const size_t end = std::min(all.find(';', at), all.size());
    const std::string part = all.substr(at, end - at);
    const size_t colon = part.find(':');
    int64_t value = 0;
    const char* first = part.data() + std::min(colon, part.size() - 1) + 1;
    const auto [rest, error] = std::from_chars(first, part.data() + part.size(), value);
    if (colon == std::string::npos || error != std::errc() || rest != part.data() + part.size())
      throw Error("option '" + std::string(option) + "' of " + std::string(pass_name()) +
                  " expects NAME:VALUE, got '" + part + "'");
    extents[part.substr(0, colon)] = value;
    at = end + 1;
  }
  return extents;
}

void PassContext::say(const Node& node, bool matched, const std::string& reason) const {
  if (explain_) explain_({pass_name(), inside_ + node.where(), matched, reason});
}

PassContext::Inside::Inside(PassContext& context, const Node& control, int body)
    : context_(context), before_(context.inside_.size()) {
  context.inside_ += control.where();
  if (control.body_count() == 2) context.inside_ += body == 0 ? " (then)" : " (else)";
  context.inside_ += " > ";
}

PassContext::Inside::~Inside() { context_.inside_.resize(before_); }

}  // namespace tintype
