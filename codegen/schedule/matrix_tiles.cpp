// Tiles of a matrix unit, on Halide's statements.
#include "codegen/schedule/matrix_tiles.h"

#include "codegen/matrix_unit.h"
#include "ir/diagnostic.h"

#include <map>
#include <sstream>
#include <utility>
#include <vector>

namespace tintype::matrix {

using Halide::Expr;
using Halide::Internal::Allocate;
using Halide::Internal::Block;
using Halide::Internal::Call;
using Halide::Internal::Cast;
using Halide::Internal::Evaluate;
using Halide::Internal::For;
using Halide::Internal::IRMutator;
using Halide::Internal::IRVisitor;
using Halide::Internal::LetStmt;
using Halide::Internal::Load;
using Halide::Internal::ProducerConsumer;
using Halide::Internal::Ramp;
using Halide::Internal::Stmt;
using Halide::Internal::Store;
using Halide::Internal::Variable;

namespace {

constexpr int kTileBytes = 64;  ///< of a row of any tile
constexpr int kElements = kMatrixRows * kMatrixColumns;

using Values = std::map<std::string, Expr>;

/// Loops over the elements of a tile, down to the one store in them.
struct Nest {
  Values values;  ///< of the lets on the way
  std::vector<std::string> loops;
  Stmt store;
};

void descend(const Stmt& s, Nest& n) {
  if (const auto* loop = s.as<For>()) {
    n.loops.push_back(loop->name);
    descend(loop->body, n);
  } else if (const auto* let = s.as<LetStmt>()) {
    n.values[let->name] = Halide::Internal::substitute(n.values, let->value);
    descend(let->body, n);
  } else if (const auto* p = s.as<ProducerConsumer>()) {
    descend(p->body, n);
  } else {
    n.store = s;
  }
}

class Loads : public IRVisitor {
 public:
  std::vector<std::pair<std::string, Expr>> found;  ///< names and indices

 private:
  using IRVisitor::visit;
  void visit(const Load* op) override { found.emplace_back(op->name, op->index); }
};

/// An address as it changes along a tile.
struct Address {
  std::string name;
  Expr base, row, column, depth, pair;  ///< and what a step along each of these adds
};

class Tiles : public IRMutator {
 public:
  explicit Tiles(std::string sums) : sums_(std::move(sums)), update_(sums_ + ".s1.") {}

 private:
  using IRMutator::visit;

  bool is(const std::string& loop, const char* name) const {
    return loop.starts_with(update_) && loop.ends_with(std::string(".") + name);
  }

  Stmt visit(const LetStmt* op) override {
    if (!inside_) return IRMutator::visit(op);
    values_[op->name] = Halide::Internal::substitute(values_, op->value);
    return mutate(op->body);
  }

  Stmt visit(const For* op) override {
    if (is(op->name, kDepthLoop)) return product(op);
    if (inside_ || !op->name.starts_with(update_)) return IRMutator::visit(op);
    inside_ = true;
    sums_of_tiles_.clear();
    values_.clear();
    Stmt s = IRMutator::visit(op);
    inside_ = false;
    for (size_t i = 0; i < sums_of_tiles_.size(); ++i)
      s = Block::make({assign(i, zeros()), s, store(i)});
    for (size_t i = 0; i < sums_of_tiles_.size(); ++i)
      s = Allocate::make(name(i), Halide::Float(32, kElements), Halide::MemoryType::AMXTile, {1},
                         Halide::Internal::const_true(), s);
    return s;
  }

  /// Halide 21 rounds f32 to bf16 in eight instructions. It has a function for the processor's own
  /// one, of 32 elements, which it does not use for conversions next to shuffles that LLVM cannot
  /// select; there are none here.
  Expr visit(const Cast* op) override {
    constexpr int kElementsAtOnce = 32;
    if (op->type != Halide::BFloat(16, kElementsAtOnce) ||
        op->value.type() != Halide::Float(32, kElementsAtOnce))
      return IRMutator::visit(op);
    return Halide::reinterpret(op->type,
                               Call::make(Halide::UInt(16, kElementsAtOnce), "vcvtne2ps2bf16",
                                          {mutate(op->value)}, Call::PureExtern));
  }

  // sums[..] = sums[..] + f32(left[..]) f32(right[..])
  Stmt product(const For* op) {
    Nest n;
    n.values = values_;
    descend(op, n);
    const auto* s = n.store.as<Store>();
    TINTYPE_CHECK(s != nullptr && s->name == sums_ && n.loops.size() == 3,
                  "the loops of a tile of " + sums_ + " have more than a product in them");
    Loads loads;
    Halide::Internal::substitute(n.values, s->value).accept(&loads);
    Address left, right;
    for (const auto& [name, index] : loads.found) {
      if (name == sums_) continue;
      const Address a = address(n, name, index);
      (Halide::Internal::is_const_zero(a.row) ? right : left) = a;
    }
    const Address to = address(n, sums_, s->index);
    check(left, {left.row, 0, 1, 2});
    check(right, {0, 2, 1, right.pair});
    check(to, {to.row, 1, 0, 0});
    sums_of_tiles_.push_back(to);
    const size_t i = sums_of_tiles_.size() - 1;
    const Expr product = Call::make(Halide::Float(32, kElements), "tile_matmul",
                                    {kMatrixRows, kTileBytes, 2 * kMatrixDepth, sum(i),
                                     load(left, left.row), load(right, right.pair)},
                                    Call::Intrinsic);
    return assign(i, product);
  }

  Address address(const Nest& n, const std::string& name, const Expr& index) const {
    const Expr e = Halide::Internal::substitute(n.values, index);
    const auto at = [&](int row, int column, int depth) {
      Expr there = e;
      for (const std::string& loop : n.loops)
        there = Halide::Internal::substitute(loop,
                                             is(loop, kRowLoop)      ? row
                                             : is(loop, kColumnLoop) ? column
                                                                     : depth,
                                             there);
      return Halide::Internal::simplify(there);
    };
    Address a{name, at(0, 0, 0), {}, {}, {}, {}};
    const auto step = [&](const Expr& there) { return Halide::Internal::simplify(there - a.base); };
    a.row = step(at(1, 0, 0));
    a.column = step(at(0, 1, 0));
    a.depth = step(at(0, 0, 1));
    a.pair = step(at(0, 0, 2));
    return a;
  }

  /// Tiles have rows of neighbours: in pairs of steps those of the right side.
  void check(const Address& a, const std::vector<Expr>& steps) const {
    const std::vector<Expr> found = {a.row, a.column, a.depth, a.pair};
    for (size_t i = 0; i < steps.size(); ++i)
      if (!a.base.defined() || !Halide::Internal::can_prove(found[i] == steps[i])) {
        std::ostringstream s;
        s << "no tiles of " << a.name << " at " << a.base << ", row " << a.row << ", column "
          << a.column << ", step " << a.depth << ", pair " << a.pair;
        TINTYPE_CHECK(false, s.str());
      }
  }

  static Expr load(const Address& a, const Expr& stride) {
    return Call::make(
        Halide::BFloat(16, kMatrixRows * kMatrixDepth), "tile_load",
        {kMatrixRows, kTileBytes, Variable::make(Halide::Handle(), a.name), a.base * 2, stride * 2},
        Call::Intrinsic);
  }

  std::string name(size_t i) const { return sums_ + ".tile" + std::to_string(i); }
  static Expr all() { return Ramp::make(0, 1, kElements); }
  static Expr always() { return Halide::Internal::const_true(kElements); }

  Expr sum(size_t i) const {
    return Load::make(Halide::Float(32, kElements), name(i), all(), {}, {}, always(), {});
  }
  Stmt assign(size_t i, const Expr& value) const {
    return Store::make(name(i), value, all(), {}, always(), {});
  }
  static Expr zeros() {
    return Call::make(
        Halide::Float(32, kElements), "tile_zero",
        {Cast::make(Halide::Int(16), kMatrixRows), Cast::make(Halide::Int(16), kTileBytes)},
        Call::Intrinsic);
  }
  Stmt store(size_t i) const {
    const Address& a = sums_of_tiles_[i];
    return Evaluate::make(
        Call::make(Halide::Int(32), "tile_store",
                   {kMatrixRows, kTileBytes, Variable::make(Halide::Handle(), a.name), a.base * 4,
                    a.row * 4, sum(i)},
                   Call::Intrinsic));
  }

  std::string sums_, update_;
  bool inside_ = false;  ///< the loops of the update
  Values values_;
  std::vector<Address> sums_of_tiles_;
};

}  // namespace

std::unique_ptr<IRMutator> tiles(std::string sums) {
  return std::make_unique<Tiles>(std::move(sums));
}

}  // namespace tintype::matrix
