// Update rules. Scalars that all parameters share are computed in f64: 1 - beta^t cancels.
#include "frontend/train/optimizers.h"

#include "frontend/train/graph_math.h"
#include "frontend/train/spec.h"

#include <cmath>
#include <type_traits>

namespace tintype {

namespace {

/// One parameter on its way to its next value.
class Update {
 public:
  Update(const UpdateContext& context, const std::string& name, Value* parameter, Value* gradient)
      : b(context.b), p(parameter), g(gradient), context_(context), name_(name) {}

  Builder& b;
  Value* p;
  Value* g;

  /// A state tensor of the parameter's type, all elements equal to `fill`.
  Value* slot(const std::string& which, double fill = 0) {
    return add_filled_state(b.graph(), "optimizer/" + name_ + "/" + which, p->type(), fill);
  }
  Value* store(Value* state, Value* next) {
    b.graph().set_next(state, next);
    return next;
  }

  Value* number(double v) { return b.scalar(v, p->dtype()); }
  Value* scaled(Value* x, double v) { return b.with_scalar("mul", x, v); }
  Value* shifted(Value* x, double v) { return b.with_scalar("add", x, v); }
  Value* root(Value* x) { return b.unary("sqrt", x); }
  Value* rate() { return b.cast(context_.rate, p->dtype()); }
  Value* rate64() { return b.cast(context_.rate, DType::f64); }
  Value* step64() { return b.cast(context_.step, DType::f64); }
  Value* as_parameter(Value* x) { return b.cast(x, p->dtype()); }
  /// 1 - beta^t
  Value* bias_correction(double beta) {
    Value* power =
        beta == 0 ? b.scalar(0, DType::f64) : b.exp(b.with_scalar("mul", step64(), std::log(beta)));
    return b.sub(b.scalar(1, DType::f64), power);
  }
  Value* first_step() { return b.compare("eq", context_.step, b.scalar(1, DType::i64)); }

  /// decay old + (1 - decay) x
  Value* running(Value* old, double decay, Value* x) {
    return b.add(scaled(old, decay), scaled(x, 1 - decay));
  }
  void couple_decay(double weight_decay) {
    if (weight_decay != 0) g = b.add(g, scaled(p, weight_decay));
  }

 private:
  const UpdateContext& context_;
  const std::string& name_;
};

Value* next(Update& u, const Sgd& o) {
  Builder& b = u.b;
  u.couple_decay(o.weight_decay);
  Value* direction = u.g;
  if (o.momentum != 0) {
    Value* old = u.slot("momentum_buffer");
    Value* taken = o.dampening == 0 ? u.g : u.scaled(u.g, 1 - o.dampening);
    Value* m = b.add(u.scaled(old, o.momentum), taken);
    // The first step takes the whole gradient; without dampening the formula says the same.
    if (o.dampening != 0) m = b.select(u.first_step(), u.g, m);
    u.store(old, m);
    direction = o.nesterov ? b.add(u.g, u.scaled(m, o.momentum)) : m;
  }
  return b.sub(u.p, b.mul(direction, u.rate()));
}

struct Moments {
  Value* first;
  Value* second;
};

Moments moments(Update& u, double beta1, double beta2) {
  Value* m_old = u.slot("exp_avg");
  Value* v_old = u.slot("exp_avg_sq");
  Value* m = u.store(m_old, lerp(u.b, m_old, u.g, u.number(1 - beta1)));
  Value* v = u.store(v_old, u.running(v_old, beta2, u.b.mul(u.g, u.g)));
  return {m, v};
}

template <typename Options>
Value* adam_step(Update& u, const Options& o) {
  Builder& b = u.b;
  auto [m, v] = moments(u, o.beta1, o.beta2);
  if (o.amsgrad) {
    Value* largest = u.slot("max_exp_avg_sq");
    v = u.store(largest, b.max(largest, v));
  }
  Value* size = u.as_parameter(b.div(u.rate64(), u.bias_correction(o.beta1)));
  Value* root_correction = u.as_parameter(u.root(u.bias_correction(o.beta2)));
  Value* denominator = u.shifted(b.div(u.root(v), root_correction), o.eps);
  return b.sub(u.p, b.mul(size, b.div(m, denominator)));
}

Value* next(Update& u, const Adam& o) {
  u.couple_decay(o.weight_decay);
  return adam_step(u, o);
}

Value* next(Update& u, const AdamW& o) {
  if (o.weight_decay != 0) {
    Builder& b = u.b;
    Value* keep = b.sub(b.scalar(1, DType::f64), b.with_scalar("mul", u.rate64(), o.weight_decay));
    u.p = b.mul(u.p, u.as_parameter(keep));
  }
  return adam_step(u, o);
}

Value* next(Update& u, const RmsProp& o) {
  Builder& b = u.b;
  u.couple_decay(o.weight_decay);
  Value* v_old = u.slot("square_avg");
  Value* v = u.store(v_old, u.running(v_old, o.alpha, b.mul(u.g, u.g)));
  if (o.centered) {
    Value* mean_old = u.slot("grad_avg");
    Value* mean = u.store(mean_old, lerp(b, mean_old, u.g, u.number(1 - o.alpha)));
    // Rounding can leave a small negative variance, whose root would be NaN for good.
    v = b.with_scalar("max", b.sub(v, b.mul(mean, mean)), 0);
  }
  Value* direction = b.div(u.g, u.shifted(u.root(v), o.eps));
  if (o.momentum > 0) {
    Value* old = u.slot("momentum_buffer");
    direction = u.store(old, b.add(u.scaled(old, o.momentum), direction));
  }
  return b.sub(u.p, b.mul(direction, u.rate()));
}

Value* next(Update& u, const Adagrad& o) {
  Builder& b = u.b;
  u.couple_decay(o.weight_decay);
  Value* rate = u.rate();
  if (o.lr_decay != 0) {
    Value* growth = b.with_scalar("mul", b.with_scalar("sub", u.step64(), 1), o.lr_decay);
    rate = u.as_parameter(b.div(u.rate64(), b.with_scalar("add", growth, 1)));
  }
  Value* old = u.slot("sum", o.initial_accumulator);
  Value* sum = u.store(old, b.add(old, b.mul(u.g, u.g)));
  return b.sub(u.p, b.mul(rate, b.div(u.g, u.shifted(u.root(sum), o.eps))));
}

Value* next(Update& u, const Adadelta& o) {
  Builder& b = u.b;
  u.couple_decay(o.weight_decay);
  Value* v_old = u.slot("square_avg");
  Value* d_old = u.slot("acc_delta");
  Value* v = u.store(v_old, u.running(v_old, o.rho, b.mul(u.g, u.g)));
  Value* scale = b.div(u.root(u.shifted(d_old, o.eps)), u.root(u.shifted(v, o.eps)));
  Value* delta = b.mul(scale, u.g);
  u.store(d_old, u.running(d_old, o.rho, b.mul(delta, delta)));
  return b.sub(u.p, b.mul(delta, u.rate()));
}

Value* next(Update& u, const Rprop& o) {
  Builder& b = u.b;
  Value* previous = u.slot("prev");
  Value* size_old = u.slot("step_size", o.lr);
  Value* zero = u.number(0);
  Value* agreement = b.mul(u.g, previous);
  Value* turned = b.compare("lt", agreement, zero);
  Value* factor = b.select(b.compare("gt", agreement, zero), u.number(o.eta_plus),
                           b.select(turned, u.number(o.eta_minus), u.number(1)));
  Value* size = b.with_scalar("max", b.mul(size_old, factor), o.step_min);
  size = u.store(size_old, b.with_scalar("min", size, o.step_max));
  Value* g = u.store(previous, b.select(turned, zero, u.g));
  return b.sub(u.p, b.mul(b.unary("sign", g), size));
}

Value* next(Update& u, const Lamb& o) {
  Builder& b = u.b;
  auto [m, v] = moments(u, o.beta1, o.beta2);
  Value* m_hat = b.div(m, u.as_parameter(u.bias_correction(o.beta1)));
  Value* v_hat = b.div(v, u.as_parameter(u.bias_correction(o.beta2)));
  Value* direction = b.div(m_hat, u.shifted(u.root(v_hat), o.eps));
  if (o.weight_decay != 0) direction = b.add(direction, u.scaled(u.p, o.weight_decay));
  Value* p_norm = u.root(sum_squares(b, u.p));
  Value* d_norm = u.root(sum_squares(b, direction));
  Value* zero = u.number(0);
  Value* usable = b.make("and", {b.compare("gt", p_norm, zero), b.compare("gt", d_norm, zero)});
  Value* ratio = b.select(usable, b.div(p_norm, d_norm), u.number(1));
  return b.sub(u.p, b.mul(b.mul(ratio, u.rate()), direction));
}

void check(const Optimizer& optimizer) {
  const auto require = [&](bool good, std::string_view what) {
    if (!good) throw Error("optimizer '" + text_of(optimizer) + "': " + std::string(what));
  };
  require(learning_rate(optimizer) >= 0, "lr must not be negative");
  std::visit(
      [&](const auto& o) {
        using Options = std::decay_t<decltype(o)>;
        if constexpr (requires { o.beta1; })
          require(o.beta1 >= 0 && o.beta1 < 1 && o.beta2 >= 0 && o.beta2 < 1,
                  "beta1 and beta2 must be in [0, 1)");
        if constexpr (requires { o.eps; }) require(o.eps >= 0, "eps must not be negative");
        if constexpr (requires { o.weight_decay; })
          require(o.weight_decay >= 0, "weight_decay must not be negative");
        if constexpr (requires { o.momentum; })
          require(o.momentum >= 0, "momentum must not be negative");
        if constexpr (std::is_same_v<Options, Sgd>)
          require(!o.nesterov || (o.momentum > 0 && o.dampening == 0),
                  "nesterov needs a momentum and no dampening");
        if constexpr (std::is_same_v<Options, Rprop>)
          require(o.eta_minus > 0 && o.eta_minus < 1 && o.eta_plus > 1 && o.step_min <= o.step_max,
                  "expected 0 < eta_minus < 1 < eta_plus and step_min <= step_max");
        if constexpr (std::is_same_v<Options, Adadelta>)
          require(o.rho >= 0 && o.rho <= 1, "rho must be in [0, 1]");
      },
      optimizer);
}

}  // namespace

Optimizer parse_optimizer(std::string_view text) {
  const Optimizer optimizer = read_spec<Optimizer>(text, "optimizer");
  check(optimizer);
  return optimizer;
}

std::string text_of(const Optimizer& optimizer) { return write_spec(optimizer); }

double learning_rate(const Optimizer& optimizer) {
  return std::visit([](const auto& o) { return o.lr; }, optimizer);
}

Optimizer with_weight_decay(Optimizer optimizer, double weight_decay) {
  std::visit(
      [&](auto& o) {
        if constexpr (requires { o.weight_decay; }) o.weight_decay = weight_decay;
        else if (weight_decay != 0)
          throw Error("optimizer '" + std::string(o.kName) +
                      "' has no weight decay; use l2 instead");
      },
      optimizer);
  return optimizer;
}

Value* add_update(const UpdateContext& context, const Optimizer& optimizer, const std::string& name,
                  Value* parameter, Value* gradient) {
  check(optimizer);
  TINTYPE_CHECK(parameter->type() == gradient->type(),
                "gradient of " + name + " has another type than the parameter");
  Update update(context, name, parameter, gradient);
  return std::visit([&](const auto& o) { return next(update, o); }, optimizer);
}

}  // namespace tintype
