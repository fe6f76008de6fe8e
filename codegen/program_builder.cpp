// Extents to expression tables; views without repeats.
#include "codegen/program_builder.h"

#include "ir/diagnostic.h"

namespace tintype {

Shape dense_strides(const Shape& shape) {
  Shape strides(shape.size());
  Dim step = 1;
  for (size_t i = shape.size(); i-- > 0;) {
    strides[i] = step;
    step = step * shape[i];
  }
  return strides;
}

bool is_dense(const Placement& p, const Shape& shape) {
  const Shape dense = dense_strides(shape);
  for (size_t i = 0; i < shape.size(); ++i)
    if (!shape[i].is(1) && !(p.strides[i] == dense[i])) return false;
  return true;
}

void ProgramBuilder::add_symbol(const std::string& name, int32_t input, int32_t axis) {
  symbols_[name] = static_cast<int32_t>(program_->symbols.size());
  program_->symbols.push_back({name, input, axis});
}

ExprId ProgramBuilder::push(ExtentExpr e) {
  const auto key = std::tuple(static_cast<int>(e.kind), e.value, e.a, e.b);
  if (auto it = interned_.find(key); it != interned_.end()) return it->second;
  program_->expressions.push_back(e);
  const auto id = static_cast<ExprId>(program_->expressions.size() - 1);
  interned_[key] = id;
  return id;
}

ExprId ProgramBuilder::binary(ExtentExpr::Kind kind, ExprId a, ExprId b) {
  return push({kind, 0, a, b});
}

ExprId ProgramBuilder::expression(const Dim& d) {
  using Kind = ExtentExpr::Kind;
  if (d.is_static()) return push({Kind::constant, d.value(), 0, 0});
  const std::string text = d.text();
  if (auto it = by_text_.find(text); it != by_text_.end()) return it->second;
  ExprId sum = -1;
  for (const DimTerm& t : d.poly()->terms) {
    ExprId product = -1;
    auto times = [&](ExprId e) { product = product < 0 ? e : binary(Kind::mul, product, e); };
    if (t.coefficient != 1 || t.atoms.empty()) times(push({Kind::constant, t.coefficient, 0, 0}));
    for (const auto& atom : t.atoms) {
      if (atom->kind == DimAtom::Kind::symbol) {
        auto it = symbols_.find(atom->name);
        TINTYPE_CHECK(it != symbols_.end(),
                      "extent '" + atom->name + "' is not an axis of an input");
        times(push({Kind::symbol, it->second, 0, 0}));
        continue;
      }
      const ExprId a = expression(atom->a);
      const ExprId b = expression(atom->b);
      const Kind kind = atom->kind == DimAtom::Kind::floor_div ? Kind::floor_div
                        : atom->kind == DimAtom::Kind::min     ? Kind::min
                                                               : Kind::max;
      times(binary(kind, a, b));
    }
    sum = sum < 0 ? product : binary(Kind::add, sum, product);
  }
  by_text_[text] = sum;
  return sum;
}

std::vector<ExprId> ProgramBuilder::expressions(const Shape& shape) {
  std::vector<ExprId> ids;
  for (const Dim& d : shape) ids.push_back(expression(d));
  return ids;
}

ExprId ProgramBuilder::at_least(const Dim& a, const Dim& b) {
  const ExprId less = binary(ExtentExpr::Kind::less, expression(a), expression(b));
  return binary(ExtentExpr::Kind::sub, push({ExtentExpr::Kind::constant, 1, 0, 0}), less);
}

int32_t ProgramBuilder::storage(Storage::Kind kind, int32_t value, const Dim& bytes) {
  Storage s;
  s.kind = kind;
  s.value = value;
  s.bytes = expression(bytes);
  s.device = on_device && (kind == Storage::Kind::arena || kind == Storage::Kind::state);
  program_->storages.push_back(s);
  return static_cast<int32_t>(program_->storages.size() - 1);
}

ViewId ProgramBuilder::view(DType dtype, const Placement& p, const Shape& extents) {
  std::string key = std::to_string(p.storage) + " " + std::string(name_of(dtype)) + " " +
                    p.offset.text() + text_of(extents) + text_of(p.strides);
  for (int32_t m : p.motions) key += " " + std::to_string(m);
  if (auto it = views_.find(key); it != views_.end()) return it->second;
  View v;
  v.storage = p.storage;
  v.dtype = dtype;
  v.offset = expression(p.offset);
  v.extents = expressions(extents);
  v.strides = expressions(p.strides);
  v.motions = p.motions;
  program_->views.push_back(std::move(v));
  const auto id = static_cast<ViewId>(program_->views.size() - 1);
  views_[key] = id;
  return id;
}

}  // namespace tintype
