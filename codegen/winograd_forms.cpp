// Forms by window, strides, channels and margins; the choice by estimated time.
#include "codegen/winograd_forms.h"

#include "codegen/region_arguments.h"

#include <algorithm>

namespace tintype {

namespace {

/// True where all that is around the image is what a tile of two results reads beyond it: zeros.
bool has_zero_margins(const Node& n, const std::vector<int64_t>& window) {
  const Node* pad = zero_pad(n.operand(0));
  if (pad == nullptr) return false;
  const Shape before = pad->attrs().dims("before"), after = pad->attrs().dims("after");
  for (size_t i = 0; i < 4; ++i) {
    const bool wide = (i == 1 || i == 2) && window[i - 1] > 1;
    const int margin = wide ? 1 : 0;
    if (!before[i].is(margin) || !after[i].is(margin) ||
        (wide && !pad->operand(0)->shape()[i].is(2)))
      return false;
  }
  return true;
}

}  // namespace

const Node* zero_pad(const Value* x) {
  const Node* pad = x->def();
  const bool zeros = pad != nullptr && pad->is("pad") && pad->operand(1) == nullptr &&
                     pad->attrs().string("mode", "constant") == "constant";
  return zeros ? pad : nullptr;
}

ConvProblem conv_problem(const Node& n, const Shape& out, const SelectAlgorithmsOptions& options) {
  const auto likely = [&](const Dim& d) { return static_cast<double>(options.hint(d)); };
  return {likely(out[0]),
          likely(out[1]),
          likely(out[2]),
          likely(n.operand(0)->shape()[3]),
          likely(out.back()),
          n.attrs().integers("window"),
          n.is("conv_weight_gradient")};
}

std::vector<WinogradForm> winograd_forms(const Node& n, const Shape& out,
                                         const SelectAlgorithmsOptions& options) {
  const auto window = n.attrs().integers("window");
  if (options.strict || n.attrs().integer("group", 1) != 1 || window.size() != 2 ||
      !all_ones(n.attrs().integers("strides", {1, 1})) ||
      !all_ones(n.attrs().integers("dilations", {1, 1})) || !out.back().is_static() ||
      !n.operand(0)->shape()[3].is_static())
    return {};
  const bool square = window[0] == window[1];
  const bool line = (window[0] == 1) != (window[1] == 1);
  const int64_t longest = std::max(window[0], window[1]);
  const bool on_device = options.machine.cuda != 0;
  const int64_t least = on_device ? 16 : options.machine.lanes;
  if ((!square && !line) || longest < 3 || longest > 7 ||
      n.operand(0)->shape()[3].value() < least || out.back().value() < least)
    return {};
  std::vector<WinogradForm> found;
  for (const WinogradForm form : {WinogradForm{2}, {2, true}, {4}}) {
    // The schedules for CUDA have no tiles without margins.
    const bool fits = !form.zero_margins || (!on_device && has_zero_margins(n, window));
    if (fits && find_winograd(form, longest).points != 0) found.push_back(form);
  }
  return found;
}

WinogradForm pick_winograd_form(const Node& n, const Shape& out, int weight_transforms,
                                const SelectAlgorithmsOptions& options) {
  const std::vector<WinogradForm> forms = winograd_forms(n, out, options);
  if (forms.empty()) return {};
  const ConvProblem p = conv_problem(n, out, options);
  double best = direct_conv_ms(p, options.machine) * 0.95;
  WinogradForm found;
  for (const WinogradForm& form : forms) {
    const double cost = winograd_conv_ms(p, form, weight_transforms, options.machine);
    if (cost < best) {
      best = cost;
      found = form;
    }
  }
  return found;
}

}  // namespace tintype
