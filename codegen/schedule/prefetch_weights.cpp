// A lowering pass that adds prefetches to the innermost loop of a contraction. Halide's own
// directive fetches the same region on every pass over a panel; the share of a pass is the point.
#include "codegen/schedule/prefetch_weights.h"

#include <Halide.h>
#include <utility>

namespace tintype {

using Halide::Expr;
using Halide::Internal::For;
using Halide::Internal::ForType;
using Halide::Internal::Load;
using Halide::Internal::Ramp;
using Halide::Internal::Stmt;

namespace {

constexpr int kLineFloats = 16;

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
    for (int i = lines_; i-- > 0;) {
      const Expr at = from + (step * lines_ + i) * kLineFloats;
      const Expr base = Halide::Internal::Variable::make(Halide::Handle(), buffer_);
      const Expr call = Halide::Internal::Call::make(
          Halide::Float(32), Halide::Internal::Call::prefetch,
          {base, Halide::Internal::simplify(at), Expr(1), Expr(kLineFloats)},
          Halide::Internal::Call::Intrinsic);
      body = Halide::Internal::Block::make(Halide::Internal::Evaluate::make(call), body);
    }
    return For::make(loop->name, loop->min, loop->extent, loop->for_type, loop->partition_policy,
                     loop->device_api, body);
  }

  std::string buffer_, reduction_, passes_;
  int lines_;
  std::pair<Expr, Expr> pass_ = {Expr(0),
                                 Expr(1)};  ///< number of the pass over a panel; of how many
  Expr repeats_ = Expr(1);  ///< times that the innermost reduction loop runs per pass
};

}  // namespace

void prefetch_weights(Halide::Pipeline& pipeline, const Composition& c, const KernelSpec& spec) {
  if (spec.prefetch == 0) return;
  const Anchor& a = c.anchors.at(0);
  const bool winograd = spec.schedule == ScheduleKind::winograd_conv;
  const std::string sums = winograd ? c.stages.at(2).name() : a.func.name();
  const std::string passes = winograd ? c.stages.at(3).name() : c.outputs[0].name();
  for (size_t i = 0; i < c.inputs.size(); ++i)
    if (spec.body->inputs()[i].get() == a.node->operand(1))
      pipeline.add_custom_lowering_pass(
          new PrefetchWeights(c.inputs[i].name(), sums + ".s1.", passes + ".s0.", spec.prefetch));
}

}  // namespace tintype
