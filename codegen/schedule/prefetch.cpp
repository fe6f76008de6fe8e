// Lowering passes that add prefetches to a contraction. Of weights, Halide's own directive fetches
// the same region on every pass over a panel; the share of a pass is the point. Of results, it
// knows no prefetch.
#include "codegen/schedule/prefetch.h"

#include <Halide.h>
#include <algorithm>
#include <utility>

namespace tintype {

using Halide::Expr;
using Halide::Internal::For;
using Halide::Internal::ForType;
using Halide::Internal::LetStmt;
using Halide::Internal::Load;
using Halide::Internal::Ramp;
using Halide::Internal::Stmt;
using Halide::Internal::Store;

namespace {

constexpr int kLineFloats = 16;

/// `body` behind a prefetch of the line at buffer[index].
Stmt fetch_before(const std::string& buffer, const Expr& index, const Stmt& body) {
  const Expr base = Halide::Internal::Variable::make(Halide::Handle(), buffer);
  const Expr call = Halide::Internal::Call::make(
      Halide::Float(32), Halide::Internal::Call::prefetch,
      {base, Halide::Internal::simplify(index), Expr(1), Expr(kLineFloats)},
      Halide::Internal::Call::Intrinsic);
  return Halide::Internal::Block::make(Halide::Internal::Evaluate::make(call), body);
}

Stmt with_body(const For* loop, const Stmt& body) {
  return For::make(loop->name, loop->min, loop->extent, loop->for_type, loop->partition_policy,
                   loop->device_api, body);
}

/// The address of the first vector loaded from a buffer, and whether a loop lies in between.
class FirstLoad : public Halide::Internal::IRVisitor {
 public:
  explicit FirstLoad(std::string buffer) : buffer_(std::move(buffer)) {}
  Expr index;
  bool loops = false;

 private:
  using IRVisitor::visit;
  void visit(const For* loop) override {
    loops = true;
    IRVisitor::visit(loop);
  }
  void visit(const Load* load) override {
    const Ramp* ramp = load->index.as<Ramp>();
    if (load->name == buffer_ && ramp != nullptr && !index.defined()) index = ramp->base;
    IRVisitor::visit(load);
  }
  std::string buffer_;
};

class PrefetchWeights : public Halide::Internal::IRMutator {
 public:
  PrefetchWeights(std::string buffer, std::string reduction, std::string passes, int lines)
      : buffer_(std::move(buffer)), reduction_(std::move(reduction)), passes_(std::move(passes)),
        lines_(lines) {}

 private:
  using IRMutator::visit;

  Stmt visit(const For* loop) override {
    const bool over_panels = loop->name.starts_with(passes_) && loop->name.ends_with(".ko");
    if (loop->for_type == ForType::Parallel || over_panels) {
      const auto saved = std::exchange(pass_, {Expr(0), Expr(1)});
      Stmt s = IRMutator::visit(loop);
      pass_ = saved;
      return s;
    }
    if (loop->for_type != ForType::Serial) return IRMutator::visit(loop);
    if (loop->name.starts_with(passes_)) {
      const Expr number = Halide::Internal::Variable::make(Halide::Int(32), loop->name) - loop->min;
      const auto saved =
          std::exchange(pass_, {pass_.first * loop->extent + number, pass_.second * loop->extent});
      Stmt s = IRMutator::visit(loop);
      pass_ = saved;
      return s;
    }
    if (!loop->name.starts_with(reduction_)) return IRMutator::visit(loop);
    FirstLoad first(buffer_);
    Halide::Internal::substitute_in_all_lets(loop->body).accept(&first);
    if (!first.loops && first.index.defined()) return with_prefetch(loop, first.index);
    const Expr saved = std::exchange(repeats_, repeats_ * loop->extent);
    Stmt s = IRMutator::visit(loop);
    repeats_ = saved;
    return s;
  }

  Stmt with_prefetch(const For* loop, const Expr& index) const {
    const Expr step = Halide::Internal::Variable::make(Halide::Int(32), loop->name) - loop->min;
    const Expr first = Halide::Internal::substitute(loop->name, loop->min, index);
    const Expr advance = Halide::Internal::simplify(
        Halide::Internal::substitute(loop->name, loop->min + 1, index) - first);
    const Expr block = advance * loop->extent;  // of the panel, that this loop reads
    const Expr from =
        first + block * repeats_ + pass_.first * (block / Halide::max(pass_.second, 1));
    Stmt body = loop->body;
    for (int i = lines_; i-- > 0;)
      body = fetch_before(buffer_, from + (step * lines_ + i) * kLineFloats, body);
    return with_body(loop, body);
  }

  std::string buffer_, reduction_, passes_;
  int lines_;
  std::pair<Expr, Expr> pass_ = {Expr(0),
                                 Expr(1)};  ///< number of the pass over a panel; of how many
  Expr repeats_ = Expr(1);  ///< times that the innermost reduction loop runs per pass
};

/// The vectors of some buffers that a tile touches outside its sums, at addresses that depend on
/// the loop over tiles.
class TileVectors : public Halide::Internal::IRVisitor {
 public:
  TileVectors(const std::string& loop, const std::vector<std::string>& buffers)
      : loop_(loop), buffers_(buffers) {}
  std::vector<std::pair<std::string, Expr>> found;

 private:
  using IRVisitor::visit;
  void visit(const For* /*sums*/) override {}
  void visit(const LetStmt* let) override {
    lets_.push_back(let);
    IRVisitor::visit(let);
    lets_.pop_back();
  }
  void visit(const Load* load) override {
    add(load->name, load->index);
    IRVisitor::visit(load);
  }
  void visit(const Store* store) override {
    add(store->name, store->index);
    IRVisitor::visit(store);
  }

  void add(const std::string& buffer, const Expr& index) {
    const Ramp* ramp = index.as<Ramp>();
    if (ramp == nullptr || std::find(buffers_.begin(), buffers_.end(), buffer) == buffers_.end())
      return;
    Expr base = Halide::Internal::substitute_in_all_lets(ramp->base);
    for (auto let = lets_.rbegin(); let != lets_.rend(); ++let)
      base = Halide::Internal::substitute((*let)->name, (*let)->value, base);
    const bool known = std::any_of(found.begin(), found.end(), [&](const auto& f) {
      return f.first == buffer && Halide::Internal::equal(f.second, base);
    });
    if (!known && Halide::Internal::expr_uses_var(base, loop_)) found.emplace_back(buffer, base);
  }

  const std::string& loop_;
  const std::vector<std::string>& buffers_;
  std::vector<const LetStmt*> lets_;
};

class PrefetchResults : public Halide::Internal::IRMutator {
 public:
  PrefetchResults(std::string tiles, std::vector<std::string> buffers)
      : tiles_(std::move(tiles)), buffers_(std::move(buffers)) {}

 private:
  using IRMutator::visit;
  Stmt visit(const For* loop) override {
    if (!loop->name.starts_with(tiles_) || !loop->name.ends_with(".xt"))
      return IRMutator::visit(loop);
    TileVectors tile(loop->name, buffers_);
    loop->body.accept(&tile);
    Stmt body = loop->body;
    for (auto v = tile.found.rbegin(); v != tile.found.rend(); ++v)
      body = fetch_before(v->first, v->second, body);
    return with_body(loop, body);
  }

  std::string tiles_;
  std::vector<std::string> buffers_;
};

void prefetch_weights(Halide::Pipeline& pipeline, const Composition& c, const KernelSpec& spec) {
  const Anchor& a = c.anchors.at(0);
  const bool winograd = spec.schedule == ScheduleKind::winograd_conv;
  const std::string sums = winograd ? c.stages.at(2).name() : a.func.name();
  const std::string passes = winograd ? c.stages.at(3).name() : c.outputs[0].name();
  for (size_t i = 0; i < c.inputs.size(); ++i)
    if (spec.body->inputs()[i].get() == a.node->operand(1))
      pipeline.add_custom_lowering_pass(
          new PrefetchWeights(c.inputs[i].name(), sums + ".s1.", passes + ".s0.", spec.prefetch));
}

void prefetch_results(Halide::Pipeline& pipeline, const Composition& c, const KernelSpec& spec) {
  const Node* anchor = c.anchors.at(0).node;
  std::vector<std::string> buffers;
  for (const Halide::Func& out : c.outputs) buffers.push_back(out.name());
  for (size_t i = 0; i < c.inputs.size(); ++i) {
    const Value* v = spec.body->inputs()[i].get();
    if (v != anchor->operand(0) && v != anchor->operand(1)) buffers.push_back(c.inputs[i].name());
  }
  pipeline.add_custom_lowering_pass(new PrefetchResults(c.outputs[0].name() + ".s0.", buffers));
}

}  // namespace

void prefetch_contraction(Halide::Pipeline& pipeline, const Composition& c,
                          const KernelSpec& spec) {
  if (spec.prefetch > 0) prefetch_weights(pipeline, c, spec);
  if (spec.schedule == ScheduleKind::contraction && !spec.cuda) prefetch_results(pipeline, c, spec);
}

}  // namespace tintype
