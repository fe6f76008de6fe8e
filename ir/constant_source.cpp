// The attribute "source" of constants, which is absent for initializers.
#include "ir/constant_source.h"

#include "ir/diagnostic.h"

#include <array>

namespace tintype {

namespace {

constexpr std::array<std::string_view, 3> kNames = {"initializer", "literal", "buffer"};

}  // namespace

std::string_view name_of(ConstantSource source) { return kNames[static_cast<size_t>(source)]; }

std::optional<ConstantSource> parse_constant_source(std::string_view name) {
  for (size_t i = 0; i < kNames.size(); ++i)
    if (kNames[i] == name) return static_cast<ConstantSource>(i);
  return std::nullopt;
}

ConstantSource source_of(const Node& constant) {
  const std::string name = constant.attrs().string("source", std::string(kNames[0]));
  const std::optional<ConstantSource> source = parse_constant_source(name);
  if (!source) throw Error("constants have no source '" + name + "'");
  return *source;
}

void set_source(Node& constant, ConstantSource source) {
  if (source == ConstantSource::initializer) constant.attrs().erase("source");
  else constant.attrs().set("source", std::string(name_of(source)));
}

}  // namespace tintype
