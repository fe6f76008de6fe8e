// The table of activation functions, and their definitions.
#include "ir/ops/recurrent_activation.h"

#include <algorithm>
#include <cctype>

namespace tintype::ops {

namespace {

using Definition = Value* (*)(Builder&, const RecurrentActivation&, Value*);

struct Function {
  std::string_view name;
  bool takes_alpha, takes_beta;
  double alpha, beta;  ///< defaults
  Definition define;
};

Value* scaled(Builder& b, Value* x, double scale) { return b.with_scalar("mul", x, scale); }
Value* shifted(Builder& b, Value* x, double by) { return b.with_scalar("add", x, by); }
Value* where_positive(Builder& b, Value* x, Value* otherwise) {
  return b.select(b.with_scalar("ge", x, 0), x, otherwise);
}

constexpr Function kFunctions[] = {
    {"relu", false, false, 0, 0,
     [](Builder& b, const RecurrentActivation&, Value* x) { return b.unary("relu", x); }},
    {"tanh", false, false, 0, 0,
     [](Builder& b, const RecurrentActivation&, Value* x) { return b.unary("tanh", x); }},
    {"sigmoid", false, false, 0, 0,
     [](Builder& b, const RecurrentActivation&, Value* x) { return b.unary("sigmoid", x); }},
    {"affine", true, true, 1, 0,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       return shifted(b, scaled(b, x, f.alpha), f.beta);
     }},
    {"leakyrelu", true, false, 0.01, 0,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       return where_positive(b, x, scaled(b, x, f.alpha));
     }},
    {"thresholdedrelu", true, false, 1, 0,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       return b.select(b.with_scalar("ge", x, f.alpha), x, b.scalar(0, x->dtype()));
     }},
    {"scaledtanh", true, true, 1, 1,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       return scaled(b, b.unary("tanh", scaled(b, x, f.beta)), f.alpha);
     }},
    {"hardsigmoid", true, true, 0.2, 0.5,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       Value* line = shifted(b, scaled(b, x, f.alpha), f.beta);
       return b.with_scalar("min", b.with_scalar("max", line, 0), 1);
     }},
    {"elu", true, false, 1, 0,
     [](Builder& b, const RecurrentActivation& f, Value* x) {
       // The branch not taken must not overflow: its gradient would be NaN.
       Value* below = b.with_scalar("min", x, 0);
       return where_positive(b, x, scaled(b, shifted(b, b.exp(below), -1), f.alpha));
     }},
    {"softsign", false, false, 0, 0,
     [](Builder& b, const RecurrentActivation&, Value* x) {
       return b.div(x, shifted(b, b.unary("abs", x), 1));
     }},
    {"softplus", false, false, 0, 0,
     [](Builder& b, const RecurrentActivation&, Value* x) {
       // log(1 + e^x) = max(x, 0) + log(1 + e^-|x|)
       Value* tail = b.log(shifted(b, b.exp(b.neg(b.unary("abs", x))), 1));
       return b.add(b.with_scalar("max", x, 0), tail);
     }},
};

std::string lower_case(std::string s) {
  std::transform(s.begin(), s.end(), s.begin(),
                 [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return s;
}

const Function* find(std::string_view name) {
  for (const Function& f : kFunctions)
    if (f.name == name) return &f;
  return nullptr;
}

}  // namespace

std::vector<RecurrentActivation> recurrent_activations(const Node& n, int directions,
                                                       const std::vector<std::string>& defaults) {
  std::vector<std::string> names = n.attrs().get("activations", std::vector<std::string>{});
  if (names.empty())
    for (int d = 0; d < directions; ++d)
      names.insert(names.end(), defaults.begin(), defaults.end());
  const size_t expected = defaults.size() * static_cast<size_t>(directions);
  if (names.size() != expected)
    fail(n, "attribute 'activations' needs " + std::to_string(expected) + " functions, has " +
                std::to_string(names.size()));
  const auto alphas = n.attrs().get("activation_alpha", std::vector<double>{});
  const auto betas = n.attrs().get("activation_beta", std::vector<double>{});
  size_t next_alpha = 0, next_beta = 0;
  std::vector<RecurrentActivation> list;
  for (const std::string& given : names) {
    const std::string name = lower_case(given);
    const Function* f = find(name);
    if (f == nullptr) {
      std::vector<std::string> known;
      for (const Function& k : kFunctions) known.emplace_back(k.name);
      fail(n, "there is no activation '" + given + "'" + did_you_mean(name, known));
    }
    RecurrentActivation a{name, f->alpha, f->beta};
    if (f->takes_alpha && next_alpha < alphas.size()) a.alpha = alphas[next_alpha++];
    if (f->takes_beta && next_beta < betas.size()) a.beta = betas[next_beta++];
    list.push_back(std::move(a));
  }
  return list;
}

Value* apply(Builder& b, const RecurrentActivation& f, Value* x) {
  return find(f.name)->define(b, f, x);
}

}  // namespace tintype::ops
