// Optimizers as graph fragments: the next value of a parameter from its gradient.
//
// The order of operations and the defaults are those of the PyTorch 2.15 class in each comment
// (LAMB: of the paper), so that results agree step by step. g is the gradient, p the parameter, t
// the number of the step from 1, lr the learning rate. State tensors start at zero unless stated.
#pragma once

#include "ir/builder.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>

namespace tintype {

/// g += weight_decay p;  m = momentum m + (1 - dampening) g, m = g in the first step;
/// p -= lr m, or lr (g + momentum m) when nesterov (torch.optim.SGD)
struct Sgd {
  static constexpr std::string_view kName = "sgd";
  double lr = 1e-3;
  double momentum = 0;
  double dampening = 0;
  double weight_decay = 0;
  bool nesterov = false;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("momentum", momentum);
    visit("dampening", dampening);
    visit("weight_decay", weight_decay);
    visit("nesterov", nesterov);
  }
};

/// g += weight_decay p;  m = lerp(m, g, 1 - beta1), v = beta2 v + (1 - beta2) g^2;
/// p -= lr / (1 - beta1^t) m / (sqrt(v) / sqrt(1 - beta2^t) + eps); amsgrad takes the largest v so
/// far (torch.optim.Adam)
struct Adam {
  static constexpr std::string_view kName = "adam";
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 0;
  bool amsgrad = false;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("beta1", beta1);
    visit("beta2", beta2);
    visit("eps", eps);
    visit("weight_decay", weight_decay);
    visit("amsgrad", amsgrad);
  }
};

/// p *= 1 - lr weight_decay, then Adam without its own decay (torch.optim.AdamW)
struct AdamW {
  static constexpr std::string_view kName = "adamw";
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-8;
  double weight_decay = 1e-2;
  bool amsgrad = false;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("beta1", beta1);
    visit("beta2", beta2);
    visit("eps", eps);
    visit("weight_decay", weight_decay);
    visit("amsgrad", amsgrad);
  }
};

/// g += weight_decay p;  v = alpha v + (1 - alpha) g^2;  d = sqrt(v), or sqrt(v - a^2) with
/// a = lerp(a, g, 1 - alpha) when centered;  p -= lr g / (d + eps), through a momentum buffer when
/// momentum > 0 (torch.optim.RMSprop)
struct RmsProp {
  static constexpr std::string_view kName = "rmsprop";
  double lr = 1e-2;
  double alpha = 0.99;
  double eps = 1e-8;
  double weight_decay = 0;
  double momentum = 0;
  bool centered = false;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("alpha", alpha);
    visit("eps", eps);
    visit("weight_decay", weight_decay);
    visit("momentum", momentum);
    visit("centered", centered);
  }
};

/// g += weight_decay p;  s += g^2, s starts at initial_accumulator;
/// p -= lr / (1 + (t - 1) lr_decay) g / (sqrt(s) + eps) (torch.optim.Adagrad)
struct Adagrad {
  static constexpr std::string_view kName = "adagrad";
  double lr = 1e-2;
  double lr_decay = 0;
  double weight_decay = 0;
  double initial_accumulator = 0;
  double eps = 1e-10;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("lr_decay", lr_decay);
    visit("weight_decay", weight_decay);
    visit("initial_accumulator", initial_accumulator);
    visit("eps", eps);
  }
};

/// g += weight_decay p;  v = rho v + (1 - rho) g^2;  d = sqrt(u + eps) / sqrt(v + eps) g;
/// u = rho u + (1 - rho) d^2;  p -= lr d (torch.optim.Adadelta)
struct Adadelta {
  static constexpr std::string_view kName = "adadelta";
  double lr = 1;
  double rho = 0.9;
  double eps = 1e-6;
  double weight_decay = 0;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("rho", rho);
    visit("eps", eps);
    visit("weight_decay", weight_decay);
  }
};

/// Per element, a step grows by eta_plus while the gradient keeps its sign, shrinks by eta_minus
/// (and is skipped) when it turns;  p -= sign(g) step. Steps start at lr; the learning rate of
/// later steps is not used (torch.optim.Rprop)
struct Rprop {
  static constexpr std::string_view kName = "rprop";
  double lr = 1e-2;
  double eta_minus = 0.5;
  double eta_plus = 1.2;
  double step_min = 1e-6;
  double step_max = 50;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("eta_minus", eta_minus);
    visit("eta_plus", eta_plus);
    visit("step_min", step_min);
    visit("step_max", step_max);
  }
};

/// u = m' / (sqrt(v') + eps) + weight_decay p with Adam's bias-corrected m', v';
/// p -= lr |p| / |u| u, the ratio being 1 where a norm is 0 (You et al. 2019, Large Batch
/// Optimization for Deep Learning, algorithm 2 with phi(z) = z)
struct Lamb {
  static constexpr std::string_view kName = "lamb";
  double lr = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double eps = 1e-6;
  double weight_decay = 1e-2;
  template <typename V>
  void fields(V& visit) {
    visit("lr", lr);
    visit("beta1", beta1);
    visit("beta2", beta2);
    visit("eps", eps);
    visit("weight_decay", weight_decay);
  }
};

using Optimizer = std::variant<Sgd, Adam, AdamW, RmsProp, Adagrad, Adadelta, Rprop, Lamb>;

/// "adam,lr=1e-3,weight_decay=0.1" and back. Throws Error for unknown names, keys and values out
/// of range.
Optimizer parse_optimizer(std::string_view text);
std::string text_of(const Optimizer& optimizer);
double learning_rate(const Optimizer& optimizer);
/// The same optimizer with another decay; Rprop, which has none, throws Error unless it is 0.
Optimizer with_weight_decay(Optimizer optimizer, double weight_decay);

/// What the update of every parameter shares.
struct UpdateContext {
  Builder& b;
  Value* rate;  ///< f32 scalar: learning rate of this step
  Value* step;  ///< i64 scalar: number of this step, from 1
};

/// Adds the update of one parameter, with states "optimizer/<name>/<slot>" of the graph, named as
/// in PyTorch's state_dict, and returns the parameter's next value. `parameter` and `gradient` have
/// the same static type.
Value* add_update(const UpdateContext& context, const Optimizer& optimizer, const std::string& name,
                  Value* parameter, Value* gradient);

}  // namespace tintype
